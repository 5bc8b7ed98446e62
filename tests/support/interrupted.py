"""A training that waits at a certain place, for a signal to come there: `python interrupted.py JSON`.

It says ``here`` on its standard output when it is there, with the numbers of its loading processes, and goes
on at a line of its standard input. At the end it says ``trained``.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
from pathlib import Path
from typing import Any

import torch
from small import make_trainer
from torch import distributed

from drivetrain import Trainer, TrainerCallback
from drivetrain.plugin import StrategyPlugin


class Pause(TrainerCallback):
    """Waits once, at an event of an update.

    Args:
        event: Such as ``"on_substep_end"``, or ``"save_model"`` for the midst of a save.
        step: The number of updates that are done then.
    """

    def __init__(self, event: str, step: int) -> None:
        self.event = event
        self.step = step
        if event.startswith("on_"):
            setattr(self, event, self.reach_event)

    def reach_event(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.reach(state.global_step)

    def reach(self, step: int) -> None:
        if step == self.step:
            self.step = -1
            print("here", *(child.pid for child in multiprocessing.active_children()), flush=True)
            sys.stdin.readline()


class Pausing(Trainer):
    """A trainer that can be made to wait while it saves."""

    pause: Pause | None = None

    def save_model(self, output_dir: str | Path | None = None, _internal_call: bool = False) -> None:
        if self.pause is not None and self.pause.event == "save_model":
            self.pause.reach(self.state.global_step)
        super().save_model(output_dir, _internal_call)


class ToldByAnother(StrategyPlugin):
    """The second of two processes; the first got a signal."""

    world_size = 2
    rank = 1

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    def gather(self, value: Any) -> list[Any]:
        return [True, value] if isinstance(value, bool) else [value, value]


class Launched(StrategyPlugin):
    """Processes that a launcher started; each trains a model of its own, and they agree on what to do."""

    def __init__(self, args: Any, options: Any = None) -> None:
        super().__init__(args, options)
        if not distributed.is_initialized():
            distributed.init_process_group("gloo")

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    @property
    def world_size(self) -> int:
        return distributed.get_world_size()

    @property
    def rank(self) -> int:
        return distributed.get_rank()

    local_rank = rank

    def wait(self) -> None:
        distributed.barrier()

    def gather(self, value: Any) -> list[Any]:
        gathered: list[Any] = [None] * self.world_size
        distributed.all_gather_object(gathered, value)
        return gathered


def prepare(folder: Path, callback: TrainerCallback | None = None, **options: Any) -> Trainer:
    """A trainer for 12 updates of two micro-batches in 2 epochs, that logs every other one."""
    defaults = {"num_train_epochs": 2, "gradient_accumulation_steps": 2, "logging_steps": 2}
    sizes = {"per_device_train_batch_size": 2, "per_device_eval_batch_size": 3}
    callbacks = [] if callback is None else [callback]
    trainer = make_trainer(
        Pausing, output_dir=str(folder), callbacks=callbacks, **{**defaults, **sizes, **options}
    )
    assert isinstance(trainer, Pausing)
    trainer.pause = callback if isinstance(callback, Pause) else None
    return trainer


def history_of(trainer: Trainer) -> list[dict[str, Any]]:
    """What was logged, without what depends on the clock."""
    return [
        {key: value for key, value in entry.items() if not key.endswith(("_runtime", "_per_second"))}
        for entry in trainer.state.log_history
    ]


def main(settings: dict[str, Any]) -> None:
    """Train, and say so at the end."""
    print("process", os.getpid(), flush=True)
    torch.set_num_threads(1)
    pause = Pause(settings.pop("event"), settings.pop("step"))
    resume = settings.pop("resume", False)
    trainer = prepare(Path(settings.pop("folder")), pause, **settings)
    trainer.train(resume_from_checkpoint=resume)
    print("trained", flush=True)
    sys.stdin.readline()
    print("goes on", flush=True)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))

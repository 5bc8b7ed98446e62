"""Runs the same training whole and from its checkpoints on, and says what is not the same to the last bit."""

from __future__ import annotations

import math
import random
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from small import make_net, make_samples, make_trainer

from drivetrain import Trainer, TrainerCallback
from drivetrain.callbacks.callback import EVENTS

TIMES = ("runtime", "per_second", "preparation_time")
LENGTH = ("global_step", "epoch", "max_steps", "num_train_epochs", "train_batch_size")
FOUND = ("best_metric", "best_global_step", "num_input_tokens_seen", "total_flos", "stateful_callbacks")
MIDDLES = (2, 3)
"""Of a run of two passes of three updates: within a pass, and at its end."""


def with_every_step(**arguments: Any) -> dict[str, Any]:
    """Arguments of a run of twice three updates, the third of half a batch, that saves after each."""
    defaults = {"save_steps": 1, "num_train_epochs": 2, "per_device_train_batch_size": 8}
    return {"save_strategy": "steps", **defaults, **arguments}


def few_samples() -> list[dict[str, Any]]:
    return make_samples(20)


@dataclass
class Run:
    """A training that can be done again.

    Attributes:
        arguments: Arguments and parameters of the trainer that live on from one run to the next.
        make_model: Makes the model, with other weights for another seed.
        make_data: Makes the training data.
        make_parts: Makes more of the trainer's parameters, each time anew: callbacks, say.
        trainer: The trainer's class.
        starts: The checkpoints to resume from, by number; None for all.
        make: Makes a trainer of parameters and arguments.
    """

    arguments: dict[str, Any] = field(default_factory=with_every_step)
    make_model: Callable[[int], Any] = make_net
    make_data: Callable[[], Any] = few_samples
    make_parts: Callable[[], dict[str, Any]] = dict
    trainer: type[Trainer] = Trainer
    starts: Iterable[int] | None = None
    make: Callable[..., Trainer] = make_trainer

    def make_trainer(self, folder: Path, seed: int = 7, **changes: Any) -> Trainer:
        """A trainer that is about to run, with a recorder of events as ``trainer.recorder``."""
        parts = self.make_parts()
        recorder = Recorder()
        options = {**self.arguments, **parts, **changes}
        options["callbacks"] = [*options.get("callbacks", []), recorder]
        options.setdefault("train_dataset", self.make_data())
        model = {} if "model_init" in options else {"model": self.make_model(seed)}
        trainer = self.make(self.trainer, output_dir=folder, **model, **options)
        trainer.recorder = recorder  # type: ignore[attr-defined]
        recorder.note_saves_of(trainer)
        return trainer


class Recorder(TrainerCallback):
    """Writes down every event, with where the run is and what is logged."""

    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []

    def note_saves_of(self, trainer: Trainer) -> None:
        """Write down when a checkpoint is asked for, too; `on_save` may come later."""
        save = trainer.save_checkpoint

        def save_checkpoint() -> None:
            self.events.append(("saving", trainer.state.global_step))
            save()

        trainer.save_checkpoint = save_checkpoint  # type: ignore[method-assign]

    def note(self, name: str, state: Any, control: Any, details: Any) -> None:
        values = details.get("logs") or details.get("metrics") or {}
        best = (state.best_metric, state.best_global_step)
        is_left = control.should_epoch_stop and name == "on_epoch_end"
        switches = (control.should_training_stop, is_left)
        self.events.append((name, state.global_step, state.epoch, best, switches, without_times(values)))


def _noting(name: str) -> Callable[..., None]:
    def note(self: Recorder, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.note(name, state, control, kwargs)

    return note


for _name in EVENTS[1:]:  # but for `on_init_end`
    setattr(Recorder, _name, _noting(_name))


@dataclass
class Outcome:
    """What a run was and left, without times and speeds."""

    values: dict[str, Any]
    events: list[tuple[Any, ...]]
    folder: Path
    is_saved_in_background: bool

    @property
    def checkpoints(self) -> dict[int, Path]:
        """The checkpoints that are there, in order."""
        found = {int(path.name.rpartition("-")[2]): path for path in self.folder.glob("checkpoint-*")}
        return dict(sorted(found.items()))


def without_times(values: dict[str, Any]) -> dict[str, Any]:
    """What was logged, but for times and speeds; what is no number as text, which equals itself."""
    return {
        key: "nan" if value != value else value
        for key, value in values.items()
        if not any(time in key for time in TIMES)
    }


def scatter(seed: int) -> None:
    """Put all random numbers somewhere, as what came before a run does."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def finish(trainer: Trainer, resume_from: Path | None = None) -> Outcome:
    """Train, and note what came of it."""
    output = trainer.train(resume_from_checkpoint=None if resume_from is None else str(resume_from))
    drawn = [random.random(), float(np.random.rand()), torch.rand(2)]
    state = trainer.state
    values = {
        "weights": {name: value.clone() for name, value in trainer.model.state_dict().items()},
        "optimizer": trainer.optimizer.state_dict(),
        "schedule": trainer.lr_scheduler.state_dict(),
        "learning rates": trainer.get_learning_rates(),
        "random numbers": drawn,
        "logs": [without_times(entry) for entry in state.log_history],
        "metrics": without_times(output.metrics),
        "train_loss": output.training_loss,
        "best": state.best_model_checkpoint and Path(state.best_model_checkpoint).name,
        **{name: getattr(state, name) for name in LENGTH + FOUND},
    }
    if trainer.args.async_save:  # `on_save`, which sets it back, comes whenever that is done
        state.stateful_callbacks.get("TrainerControl", {"args": {}})["args"].pop("should_save", None)
    events = trainer.recorder.events  # type: ignore[attr-defined]
    return Outcome(values, events, Path(trainer.args.output_dir), trainer.args.async_save)


def run_whole(run: Run, folder: Path, **changes: Any) -> Outcome:
    """Train without interruption."""
    scatter(1)
    return finish(run.make_trainer(folder, **changes))


def run_from(run: Run, whole: Outcome, step: int, folder: Path, **changes: Any) -> Outcome:
    """Go on from a checkpoint, in a folder as it was when the process was killed after it."""
    scatter(step + 100)
    for number, checkpoint in whole.checkpoints.items():
        if number <= step:
            shutil.copytree(checkpoint, folder / checkpoint.name)
    trainer = run.make_trainer(folder, seed=step + 200, **changes)
    return finish(trainer, folder / f"checkpoint-{step}")


def differences(run: Run, folder: Path) -> dict[int, list[str]]:
    """Run whole, then from each checkpoint on; what differs, for each checkpoint where something does."""
    whole = run_whole(run, folder / "whole")
    starts = list(whole.checkpoints if run.starts is None else run.starts)
    assert starts, "the run has saved nothing"
    found = {}
    for step in starts:
        resumed = run_from(run, whole, step, folder / f"from-{step}")
        found[step] = [*compare(whole, resumed), *compare_events(whole, resumed, step)]
        if resumed.checkpoints.keys() != whole.checkpoints.keys():
            found[step].append(f"checkpoints: {[*whole.checkpoints]} != {[*resumed.checkpoints]}")
    return {step: texts for step, texts in found.items() if texts}


def compare(whole: Outcome, resumed: Outcome) -> list[str]:
    """What came out otherwise."""
    return [
        text
        for name, value in whole.values.items()
        for text in list(unequal(value, resumed.values[name], name))[:2]
    ]


def compare_events(whole: Outcome, resumed: Outcome, step: int) -> list[str]:
    """Whether the events of a resumed run go on where those of the whole run were at the checkpoint."""
    saves = [index for index, event in enumerate(whole.events) if event[:2] == ("saving", step)]
    rest = whole.events[saves[-1] + 1 :]
    begin, *events = resumed.events
    if whole.is_saved_in_background:  # and `on_save` comes whenever that is done
        rest, events = without_saves(rest), without_saves(events)
    elif rest[0][0] == "on_save":
        del rest[0]
    if events and events[0][0] == "on_epoch_begin" != rest[0][0]:
        del events[0]  # it is in the middle of one
    if begin[0] == "on_train_begin" and events == rest:
        return []
    at = next((i for i, pair in enumerate(zip(rest, events, strict=False)) if pair[0] != pair[1]), -1)
    was, now = rest[at : at + 1], events[at : at + 1]
    return [f"events: {len(rest)} and {len(events)}, at {at} {was} != {now}"]


def without_saves(events: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return [event for event in events if event[0] != "on_save"]


def unequal(first: Any, second: Any, name: str) -> Iterator[str]:
    """Where two values, and what is in them, are not the same."""
    if isinstance(first, torch.Tensor):
        is_same = isinstance(second, torch.Tensor) and first.dtype == second.dtype
        if not is_same or not torch.equal(first.nan_to_num(), second.nan_to_num()):
            yield f"{name} differs"
    elif isinstance(first, dict) and isinstance(second, dict) and first.keys() == second.keys():
        for key in first:
            yield from unequal(first[key], second[key], f"{name}.{key}")
    elif (
        isinstance(first, (list, tuple))
        and isinstance(second, type(first))
        and len(first) == len(second)
    ):
        for index, (one, other) in enumerate(zip(first, second, strict=True)):
            yield from unequal(one, other, f"{name}.{index}")
    elif _is_nan(first) and _is_nan(second):
        return
    elif type(first) is not type(second) or first != second:
        yield f"{name}: {first!r} != {second!r}"


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)

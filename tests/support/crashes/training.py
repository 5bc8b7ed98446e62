"""What a process that is to be killed does: train a small model, and tell of it through a pipe."""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import random
import sys
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from small import make_args, make_net, make_samples

from crashes.calls import Call, CallTracer
from drivetrain import Trainer, TrainerCallback, get_last_checkpoint

ARGUMENTS: dict[str, Any] = {
    "num_train_epochs": 2,
    "gradient_accumulation_steps": 2,
    "logging_steps": 2,
    "save_strategy": "steps",
    "save_steps": 1,
}
"""Six updates, three a pass; losses are summed over checkpoints."""

_ALLOW_TRACING_BY = 0x59616D61
_ANYONE = -1

Tell = Callable[..., None]


@dataclass(frozen=True)
class Run:
    """One process: what it trains, and at which of its calls on files it kills itself.

    Attributes:
        folder: The folder of the run.
        arguments: What is other than in `ARGUMENTS`.
        resume_from: A checkpoint; without it, the newest if there is one, as scripts do it.
        traced_from: The update from which calls on files are seen; None: they are not.
        kill_at: The one that the process does not live to make; None: it tells of all instead.
    """

    folder: str
    arguments: dict[str, Any] = field(default_factory=dict)
    resume_from: str | None = None
    traced_from: int | None = None
    kill_at: Call | None = None

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: bytes) -> Run:
        values = json.loads(text)
        kill_at = values.pop("kill_at")
        return cls(**values, kill_at=None if kill_at is None else Call(*kill_at))


class Narrator(TrainerCallback):
    """Tells where the run is, and lets the tracer know."""

    def __init__(self, tell: Tell, tracer: CallTracer | None) -> None:
        self.tell = tell
        self.tracer = tracer

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.tell("began", step=state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.tracer is not None:
            self.tracer.reach(state.global_step)

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.tell("saved", step=state.global_step)


def collate_with_noise(samples: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    """Batches with noise from all three generators, so that one number drawn more or less is seen."""
    rows = torch.stack([sample["x"] for sample in samples])
    noise = random.gauss(0, 0.1) + float(np.random.normal(0, 0.1)) + 0.1 * torch.randn(rows.shape)
    return {"x": rows + noise, "labels": torch.tensor([sample["labels"] for sample in samples])}


def train(run: Run, pipe: int) -> None:
    """Train as a user's script would that is started again after each crash."""

    def tell(event: str, **facts: Any) -> None:
        os.write(pipe, json.dumps({"event": event, **facts}).encode() + b"\n")

    tracer = None if run.traced_from is None else CallTracer(run.traced_from, run.kill_at)
    samples = make_samples()
    trainer = Trainer(
        make_net(dropout=0.2),
        make_args(run.folder, **{**ARGUMENTS, **run.arguments}),
        train_dataset=samples,
        eval_dataset=samples[:10],
        data_collator=collate_with_noise,
        callbacks=[Narrator(tell, tracer)],
    )
    resume_from = run.resume_from or get_last_checkpoint(run.folder) is not None
    output = trainer.train(resume_from_checkpoint=resume_from)
    if tracer is not None:
        tracer.stop()
        tell("called", calls=tracer.calls)
    tell("finished", outcome=outcome_of(trainer, output.training_loss))


def outcome_of(trainer: Trainer, train_loss: float) -> dict[str, Any]:
    """All that has to be equal to the last bit, however often the run was killed."""
    weights = hashlib.sha256()
    for name, value in sorted(trainer.model.state_dict().items()):
        weights.update(name.encode() + value.numpy().tobytes())
    history = [
        {name: value for name, value in logs.items() if not name.endswith(("_runtime", "_per_second"))}
        for logs in trainer.state.log_history
    ]
    return {
        "weights": weights.hexdigest(),
        "step": trainer.state.global_step,
        "best_step": trainer.state.best_global_step,
        "best_metric": trainer.state.best_metric,
        "train_loss": train_loss,
        "history": history,
    }


def train_in_child(run: Run, pipe: int, gate: int) -> NoReturn:
    """What a process that was just forked does: wait at the gate, train, end."""
    status = 1
    try:
        _prepare(run)
        if os.read(gate, 1):
            train(run, pipe)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)  # taking down all that was imported would last longer than the training


def _prepare(run: Run) -> None:
    Path(run.folder).mkdir(parents=True, exist_ok=True)
    log = os.open(f"{run.folder}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    if sys.platform == "linux":  # strace may attach even where only a parent is let
        ctypes.CDLL(None).prctl(_ALLOW_TRACING_BY, _ANYONE, 0, 0, 0)

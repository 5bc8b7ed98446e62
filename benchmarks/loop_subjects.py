"""What `loop.py` measures: one trainer, in a process of its own. Started by it, not by hand.

python loop_subjects.py instructions FOLDER FEW MANY NAME[,NAME] TASK[,TASK]   # under valgrind
python loop_subjects.py bytecodes FOLDER FEW MANY NAME[,NAME] TASK[,TASK]
python loop_subjects.py turns FOLDER UPDATES NAME TASK
"""

from __future__ import annotations

import contextlib
import functools
import gc
import io
import json
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import IO, Any

import torch
from torch import nn
from trainers import SUBJECTS, Subject, Task

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples" / "gpt"))
from model import GPT, GPTConfig

WARM_UP = 10
"""Updates before anything is counted: caches are filled, and lazy imports done."""


# -- tasks ------------------------------------------------------------------------------------------


class Linear(nn.Module):
    """Logistic regression: so little to compute that the loop itself is what is measured."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(16, 2)

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        """Loss and logits."""
        logits = self.layer(x)
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


def linear(folder: str, **options: int) -> Task:
    """The tiny linear model on 4,096 samples."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(4096, 16, generator=generator)
    labels = (features.sum(1) > 0).long()
    data = [{"x": x, "labels": y} for x, y in zip(features, labels, strict=True)]
    return Task(Linear, data, batch_size=8, folder=folder, **options)


def gpt(folder: str, **size: int) -> Task:
    """A GPT on 1,024 rows of random tokens."""
    config = GPTConfig(vocab_size=128, **size)
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(128, (1024, config.block_size + 1), generator=generator)
    data = [{"input_ids": row[:-1], "labels": row[1:]} for row in tokens]

    def make_model() -> nn.Module:
        model = GPT(config)
        del model.config  # transformers' Trainer takes it for one of transformers' own, and writes to it
        return model

    return Task(make_model, data, batch_size=8, folder=folder)


TASKS: dict[str, Callable[[str], Task]] = {
    "plain": linear,
    "full": functools.partial(linear, accumulation=4, log_every=10),
    "gpt": gpt,
    "deep gpt": functools.partial(gpt, num_layers=12, width=32, block_size=16),
}


# -- counting ---------------------------------------------------------------------------------------


def count_instructions(subjects: list[Subject], few: int, many: int) -> None:
    """Train a few updates and many, each counted into a file that callgrind writes."""
    start_instrumentation()
    for subject in subjects:
        for num_updates in (few, many):
            torch._C._valgrind_toggle()
            subject.train(num_updates)
            torch._C._valgrind_toggle_and_dump_stats()


def start_instrumentation() -> None:
    """Have callgrind begin to look, which it was told not to do while everything was imported.

    Callgrind hears of it while instructions are executed: so this process must not sleep meanwhile.
    """
    command = ["callgrind_control", "-i", "on", str(os.getpid())]
    control = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while control.poll() is None:
        pass
    assert control.returncode == 0, f"{' '.join(command)} failed"


def count_bytecodes(subjects: list[Subject], few: int, many: int) -> list[int]:
    """Train a few updates and many; return how many bytecodes Python executed in each run."""
    return [
        bytecodes_of(functools.partial(subject.train, num_updates))
        for subject in subjects
        for num_updates in (few, many)
    ]


def bytecodes_of(call: Callable[[], Any]) -> int:
    """How many bytecodes Python executes in a call."""
    count = 0

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal count
        if event == "opcode":
            count += 1
        elif event == "call":
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return count


# -- taking turns -----------------------------------------------------------------------------------


class Turns:
    """Lets a trainer go on for a turn whenever a line is read, and answers with what the turn took.

    It waits in the model's `forward`: so whatever a trainer does between two updates is in a turn, and
    nothing that it does before the first or after the last.
    """

    def __init__(self, num_micro_batches: int, answers: IO[str]) -> None:
        self.num_micro_batches = num_micro_batches
        self.answers = answers
        self.left = 0
        self.began: tuple[float, float] | None = None

    def wrap(self, model: nn.Module) -> nn.Module:
        """A model that waits between turns."""
        forward = model.forward

        @functools.wraps(forward)
        def wait_and_forward(**batch: Any) -> Any:
            if not self.left:
                self.wait()
            self.left -= 1
            return forward(**batch)

        model.forward = wait_and_forward
        return model

    def wait(self) -> None:
        """Say what the turn took, and wait for the next; end the process where none will come."""
        now = time.process_time(), time.perf_counter()
        if self.began is not None:
            took = [end - start for start, end in zip(self.began, now, strict=True)]
            print(json.dumps(took), file=self.answers, flush=True)
        if not sys.stdin.readline():
            os._exit(0)
        self.left = self.num_micro_batches
        self.began = time.process_time(), time.perf_counter()


def take_turns(name: str, task: Task, num_updates: int, answers: IO[str]) -> None:
    """Train without end, so many updates a turn."""
    turns = Turns(num_updates * task.accumulation, answers)
    waiting = Task(**{**vars(task), "make_model": lambda: turns.wrap(task.make_model())})
    SUBJECTS[name](waiting).train(10**8)


# -- all of it --------------------------------------------------------------------------------------


def warm_up(names: str, folder: str, tasks: str) -> list[Subject]:
    """All trainers with all tasks, each after some updates."""
    subjects = [
        SUBJECTS[name](TASKS[task](folder)) for name in names.split(",") for task in tasks.split(",")
    ]
    for subject in subjects:
        subject.train(WARM_UP)
    gc.collect()
    gc.freeze()  # or the libraries' own objects would be looked through, at some update or other
    return subjects


def main(what: str, folder: str, *rest: str) -> None:
    """Do what the command line says; what trainers print goes nowhere."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    assert sys.__stdout__ is not None
    with contextlib.redirect_stdout(io.StringIO()):
        if what == "turns":
            num_updates, name, task = rest
            take_turns(name, TASKS[task](folder), int(num_updates), sys.__stdout__)
            return
        few, many, names, tasks = rest
        subjects = warm_up(names, folder, tasks)
        if what == "instructions":
            count_instructions(subjects, int(few), int(many))
        else:
            print(json.dumps(count_bytecodes(subjects, int(few), int(many))), file=sys.__stdout__)


if __name__ == "__main__":
    main(*sys.argv[1:])

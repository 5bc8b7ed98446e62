"""Trains a tiny model, and prints at which updates the process took more memory than ever before, as JSON.

python benchmarks/growth_subjects.py TRAINER UPDATES LOG_EVERY
"""

from __future__ import annotations

import gc
import json
import os
import resource
import sys
import tempfile
from typing import Any

import numpy as np
import torch
from torch import nn
from trainers import SUBJECTS, Task

PAGE = resource.getpagesize()
EVERY = 10


class Gauge:
    """Notes memory at the begin of every tenth update, in room that was made before.

    It is looked at after a garbage collection: PyTorch's own loop leaves cycles behind, 2,000 updates of them
    before Python collects. What there was at the first update is left out of it, or it would take long.

    Attributes:
        values: Blocks of Python's allocator, and bytes of the process in memory; shape (2, times noted).
    """

    def __init__(self, num_updates: int) -> None:
        self.values = np.zeros((2, num_updates // EVERY + 1), dtype=np.int64)
        self.values += 1  # touched: its pages are there
        self.num_forwards = self.num_noted = 0
        self._file = os.open("/proc/self/statm", os.O_RDONLY)

    def note(self) -> None:
        """Note what is taken now."""
        if self.num_forwards == 0:
            gc.collect()
            gc.freeze()
        if self.num_forwards % EVERY == 0:
            gc.collect()
            resident = os.pread(self._file, 100, 0).split(maxsplit=2)[1]
            self.values[:, self.num_noted] = sys.getallocatedblocks(), int(resident) * PAGE
            self.num_noted += 1
        self.num_forwards += 1

    def rises(self) -> list[list[tuple[int, int]]]:
        """For both, the updates at which there was more than ever before, and how much."""
        found = []
        for values in self.values[:, : self.num_noted]:
            highest = np.maximum.accumulate(values)
            times = [0, *(np.flatnonzero(np.diff(highest)) + 1).tolist()]
            found.append([(time * EVERY, int(highest[time])) for time in times])
        return found


class Measured(nn.Module):
    """A linear model, in whose forward memory is noted."""

    def __init__(self, gauge: Gauge) -> None:
        super().__init__()
        self.layer = nn.Linear(16, 4)
        self.gauge = gauge

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        self.gauge.note()
        logits = self.layer(x)
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


def make_samples(count: int = 256) -> list[dict[str, torch.Tensor]]:
    """Random samples of four classes."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(count, 16, generator=generator)
    return [{"x": row, "labels": (row[0] > 0).long()} for row in rows]


def train_published(
    library: Any, gauge: Gauge, num_updates: int, log_every: int, folder: str
) -> dict[str, Any]:
    """Train with drivetrain or transformers; what was logged is put away, for it is kept on purpose.

    Returns:
        The number of logs, and the bytes that keeping them would take.
    """
    kept: dict[str, Any] = {"logs": 0, "bytes": 0}

    class Forgets(library.TrainerCallback):  # type: ignore[misc, name-defined]
        def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            for logs in state.log_history:
                kept["logs"] += 1
                kept["bytes"] += sys.getsizeof(logs) + sum(map(sys.getsizeof, logs.values())) + 8
            state.log_history.clear()

    args = library.TrainingArguments(
        output_dir=folder,
        per_device_train_batch_size=4,
        max_steps=num_updates,
        logging_strategy="steps" if log_every else "no",
        logging_steps=log_every or 500,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
    )
    trainer = library.Trainer(
        Measured(gauge),
        args,
        data_collator=torch.utils.data.default_collate,
        train_dataset=make_samples(),
        callbacks=[Forgets()],
    )
    trainer.train()
    return kept


def main(name: str, num_updates: int, log_every: int) -> None:
    """Train, and print what the gauge noted."""
    torch.set_num_threads(1)
    gauge, kept = Gauge(num_updates), {}
    with tempfile.TemporaryDirectory() as folder:
        if name in ("drivetrain", "transformers"):
            library = __import__(name)
            kept = train_published(library, gauge, num_updates, log_every, folder)
        else:
            task = Task(lambda: Measured(gauge), make_samples(), 4, log_every=log_every, folder=folder)
            SUBJECTS[name](task).train(num_updates)
    print(json.dumps({"rises": gauge.rises(), **kept}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))

"""Trains a small model on a disk that fails: `train_on_disk.py FOLDER OPTIONS`, the latter as JSON.

OPTIONS:
    arguments: Of `TrainingArguments`.
    resume: Whether to go on from the newest checkpoint.
    remove: A file that takes all the space on the disk, and gets shorter at each failed save.
    remove_bytes: By how many bytes.
    limit: Size of the largest file that this process may write at first; grows at each failed save.
    final: Where to save the weights, if training ends.

It prints what happens to checkpoints: `saved STEP`, `failed`, and after each failure what there is.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import sys
from pathlib import Path
from typing import Any

import torch
from small import make_args, make_samples
from torch import nn

from drivetrain import Trainer, TrainerCallback

LIMIT_STEP = 4096


class Wide(nn.Module):
    """So many weights that they make up most of a checkpoint, of about 140 kB."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, 1024), nn.ReLU(), nn.Dropout(0.1), nn.Linear(1024, 3))

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        logits = self.layers(x)
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


class MakeSpace(logging.Handler):
    """Notes each failed save, and leaves the next one more space."""

    def __init__(self, folder: Path, options: dict[str, Any]) -> None:
        super().__init__(logging.ERROR)
        self.folder, self.options = folder, options

    def emit(self, record: logging.LogRecord) -> None:
        if "could not be written" not in record.getMessage():
            return
        names = sorted(path.name for path in self.folder.iterdir() if "checkpoint" in path.name)
        print("failed", *names, flush=True)
        if "remove" in self.options:
            file = Path(self.options["remove"])
            os.truncate(file, max(0, file.stat().st_size - self.options["remove_bytes"]))
        if "limit" in self.options:
            limit, highest = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit + LIMIT_STEP, highest))


class Tell(TrainerCallback):
    """Tells of each checkpoint that is there."""

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        print("saved", state.global_step, flush=True)


def main() -> None:
    torch.set_num_threads(1)
    folder, options = Path(sys.argv[1]), json.loads(sys.argv[2])
    logging.basicConfig(format="%(levelname)s %(message)s")
    logging.getLogger("drivetrain").addHandler(MakeSpace(folder, options))
    torch.manual_seed(7)
    arguments = {"save_strategy": "steps", "save_steps": 1, "max_steps": 6, **options["arguments"]}
    trainer = Trainer(
        Wide(), make_args(folder, **arguments), train_dataset=make_samples(), callbacks=[Tell()]
    )
    if "limit" in options:
        highest = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (options["limit"], highest))
    trainer.train(resume_from_checkpoint=options.get("resume", False))
    if "final" in options:
        torch.save(trainer.model.state_dict(), options["final"])


if __name__ == "__main__":
    main()

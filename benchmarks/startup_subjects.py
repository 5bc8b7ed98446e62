"""A process of its own for `startup.py`: makes a trainer and trains one step, for each line that it reads.

    python startup_subjects.py NAME

What is made is the same everywhere: a linear model of four weights and a bias, eight samples in one batch,
AdamW, no logs, no checkpoints, no bar.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, default_collate

Train = Callable[[], object]


class Line(nn.Module):
    """forward: ``x`` (batch, 4) and ``labels`` (batch, 1); returns a dict with the squared error as loss."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 1)

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"loss": nn.functional.mse_loss(self.linear(x), labels)}


SAMPLES = [{"x": torch.randn(4), "labels": torch.randn(1)} for _ in range(8)]
OPTIONS: dict[str, Any] = {
    "per_device_train_batch_size": len(SAMPLES),
    "max_steps": 1,
    "report_to": "none",
    "save_strategy": "no",
    "disable_tqdm": True,
    "use_cpu": True,
}


def make_drivetrain(folder: str) -> Train:
    from drivetrain import Trainer, TrainingArguments

    args = TrainingArguments(folder, **OPTIONS)
    return Trainer(Line(), args, train_dataset=SAMPLES, data_collator=default_collate).train


def make_transformers(folder: str) -> Train:
    from transformers import Trainer, TrainingArguments

    args = TrainingArguments(folder, **OPTIONS)
    return Trainer(Line(), args, train_dataset=SAMPLES, data_collator=default_collate).train


def make_lightning(folder: str) -> Train:
    from lightning import LightningModule, Trainer

    class Module(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = Line()

        def training_step(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
            loss: torch.Tensor = self.model(**batch)["loss"]
            return loss

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.AdamW(self.parameters(), 1e-3)

    trainer = Trainer(
        max_steps=1,
        accelerator="cpu",
        logger=False,
        default_root_dir=folder,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    return lambda: trainer.fit(Module(), DataLoader(SAMPLES, batch_size=len(SAMPLES)))


def make_accelerate(folder: str) -> Train:
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True)

    def train() -> None:
        model = Line()
        optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
        loader = DataLoader(SAMPLES, batch_size=len(SAMPLES))
        model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
        for batch in loader:
            accelerator.backward(model(**batch)["loss"])
            optimizer.step()

    return train


def make_ignite(folder: str) -> Train:
    from ignite.engine import Engine

    model = Line()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)

    def update(engine: Engine, batch: dict[str, torch.Tensor]) -> None:
        model(**batch)["loss"].backward()
        optimizer.step()

    engine = Engine(update)
    return lambda: engine.run(DataLoader(SAMPLES, batch_size=len(SAMPLES)), max_epochs=1)


def make_bare_loop(folder: str) -> Train:
    def train() -> None:
        model = Line()
        optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
        for batch in DataLoader(SAMPLES, batch_size=len(SAMPLES)):
            model(**batch)["loss"].backward()
            optimizer.step()

    return train


MAKERS: dict[str, Callable[[str], Train]] = {
    "bare loop": make_bare_loop,
    "drivetrain": make_drivetrain,
    "transformers": make_transformers,
    "Lightning": make_lightning,
    "Accelerate": make_accelerate,
    "ignite": make_ignite,
}


def measure_once(name: str, folder: str) -> dict[str, float]:
    """Milliseconds of CPU time of making it all, and of the one step."""
    begin = time.process_time()
    train = MAKERS[name](folder)
    made = time.process_time()
    train()
    return {"make": 1000 * (made - begin), "train": 1000 * (time.process_time() - made)}


def main() -> None:
    """Import the library, by making it all once, and answer each line with a measurement."""
    warnings.simplefilter("ignore")
    logging.disable(logging.ERROR)
    torch.set_num_threads(1)
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        MAKERS["bare loop"](
            folder
        )()  # what PyTorch imports at the first step of an optimizer is its own
        for _ in sys.stdin:
            answers.write(json.dumps(measure_once(sys.argv[1], folder)) + "\n")


if __name__ == "__main__":
    main()

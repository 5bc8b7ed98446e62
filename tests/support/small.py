"""A model and data small enough to train in a unit test, and a trainer over them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from drivetrain import Trainer, TrainingArguments


class Net(nn.Module):
    """Two layers with dropout. forward: ``x`` (batch, 6), ``labels`` (batch,), three classes."""

    def __init__(self, dropout: float = 0.1) -> None:
        super().__init__()
        self.inner = nn.Linear(6, 16)
        self.norm = nn.LayerNorm(16)
        self.dropout = nn.Dropout(dropout)
        self.outer = nn.Linear(16, 3)

    def forward(self, x: torch.Tensor, labels: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        logits = self.outer(self.dropout(torch.relu(self.norm(self.inner(x)))))
        if labels is None:
            return {"logits": logits}
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


def make_net(seed: int = 7, **options: Any) -> Net:
    torch.manual_seed(seed)
    return Net(**options)


def make_samples(count: int = 24) -> list[dict[str, Any]]:
    generator = torch.Generator().manual_seed(1)
    rows = torch.randn(count, 6, generator=generator)
    return [{"x": row, "labels": int(row[0] > 0) + int(row[1] > 0)} for row in rows]


class Stream(torch.utils.data.IterableDataset):  # type: ignore[type-arg]
    """Samples without a length."""

    def __init__(self, samples: list[dict[str, Any]]) -> None:
        self.samples = samples

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.samples)


def make_args(output_dir: Path | str = "out", **arguments: Any) -> TrainingArguments:
    """Arguments of a short, quiet run on the CPU."""
    defaults: dict[str, Any] = {
        "per_device_train_batch_size": 4,
        "num_train_epochs": 1,
        "learning_rate": 1e-2,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "use_cpu": True,
        "disable_tqdm": True,
    }
    return TrainingArguments(str(output_dir), **{**defaults, **arguments})


def make_trainer(cls: type[Trainer] = Trainer, **options: Any) -> Trainer:
    """A trainer of a `Net`; options that are parameters of the constructor go there, others are arguments."""
    parameters = {
        name: options.pop(name)
        for name in list(options)
        if name
        in {
            "model",
            "model_init",
            "train_dataset",
            "eval_dataset",
            "callbacks",
            "compute_metrics",
            "compute_loss_func",
            "data_collator",
            "optimizers",
            "optimizer_cls_and_kwargs",
            "processing_class",
            "preprocess_logits_for_metrics",
            "tokenizer",
        }
    }
    samples = make_samples()
    if "model_init" not in parameters:
        parameters.setdefault("model", make_net())
    parameters.setdefault("train_dataset", samples)
    parameters.setdefault("eval_dataset", samples[:10])
    return cls(args=make_args(**options), **parameters)


def weights_of(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in trainer.model.state_dict().items()}


def are_equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    """Whether two models' weights are the same to the last bit."""
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)

"""Rows of the arguments of sequence-to-sequence models."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from drivetrain import Seq2SeqTrainer, Seq2SeqTrainingArguments
from honesty.table import Case, Row, row


@dataclass
class Generation:
    """How a model generates."""

    max_length: int = 5
    num_beams: int = 1

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Generation:
        return cls(**values)


class Echo(nn.Module):
    """Writes what it reads, as far as its length goes, and notes how it was asked to."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.generation_config = Generation()
        self.calls: list[tuple[int, int]] = []

    def forward(
        self, input_ids: torch.Tensor, labels: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        logits = self.scale * input_ids
        return {"loss": logits.float().mean(), "logits": logits}

    def generate(
        self, input_ids: torch.Tensor, max_length: int | None = None, num_beams: int | None = None
    ) -> torch.Tensor:
        config = self.generation_config
        length, beams = max_length or config.max_length, num_beams or config.num_beams
        self.calls.append((length, beams))
        return input_ids[:, :length]


def generated(**options: Any) -> tuple[list[tuple[int, int]], tuple[int, ...]]:
    """How a model was asked to generate in a prediction, and the shape of what came out."""
    model = Echo()
    quiet: dict[str, Any] = {"use_cpu": True, "report_to": "none", "disable_tqdm": True}
    args = Seq2SeqTrainingArguments("out", **quiet, **options)
    samples = [{"input_ids": torch.arange(8), "labels": torch.arange(8)} for _ in range(2)]
    output = Seq2SeqTrainer(model, args).predict(samples)
    return model.calls, output.predictions.shape


def seen(name: str, value: Any, before: Any, after: Any, **beside: Any) -> Row:
    """A row: what `generated` gives without the argument and with it."""

    def check(case: Case) -> None:
        assert generated(**beside) == before
        assert generated(**beside, **case.setting) == after

    return replace(row(name, value)(check), cls=Seq2SeqTrainingArguments)


GENERATING = {"predict_with_generate": True}
ROWS = [
    seen("predict_with_generate", True, ([], (2, 8)), ([(5, 1)], (2, 5))),
    seen("generation_max_length", 3, ([(5, 1)], (2, 5)), ([(3, 1)], (2, 3)), **GENERATING),
    seen("generation_num_beams", 4, ([(5, 1)], (2, 5)), ([(5, 4)], (2, 5)), **GENERATING),
    seen(
        "generation_config",
        {"max_length": 4, "num_beams": 2},
        ([(5, 1)], (2, 5)),
        ([(4, 2)], (2, 4)),
        **GENERATING,
    ),
]

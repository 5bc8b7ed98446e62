"""Operations of a batch are counted as the model says, and its modules are walked once."""

from __future__ import annotations

from typing import Any

import torch
from small import make_net, make_trainer
from torch import nn

BATCH = {"input_ids": torch.ones(2, 5, dtype=torch.long)}


class Counted(nn.Module):
    """Counts its parameters as transformers' models do, and how often it is asked to."""

    num_calls = 0

    def forward(self, x: torch.Tensor, labels: Any = None) -> torch.Tensor:
        return x

    def num_parameters(self, exclude_embeddings: bool = False) -> int:
        self.num_calls += 1
        return 7 if exclude_embeddings else 9


class Earlier(Counted):
    """With the methods that models had in transformers 4."""

    def floating_point_ops(self, inputs: dict[str, torch.Tensor]) -> int:
        return 6 * self.estimate_tokens(inputs) * self.num_parameters(exclude_embeddings=True)

    def estimate_tokens(self, inputs: dict[str, torch.Tensor]) -> int:
        return inputs["input_ids"].numel()

    floating_point_ops.__module__ = estimate_tokens.__module__ = "transformers.modeling_utils"


class WithPatches(Earlier):
    def estimate_tokens(self, inputs: dict[str, torch.Tensor]) -> int:
        return 100


def test_parameters_are_counted_once() -> None:
    for cls in (Counted, Earlier):
        trainer = make_trainer(model=cls())
        assert [trainer.floating_point_ops(BATCH) for _ in range(3)] == [6 * 10 * 7] * 3
        assert trainer.model.num_calls == 1  # type: ignore[union-attr]


def test_what_a_model_counts_itself_comes_first() -> None:
    assert make_trainer(model=WithPatches()).floating_point_ops(BATCH) == 6 * 100 * 7


def test_another_model_is_counted_anew() -> None:
    trainer = make_trainer(model=Counted())
    assert trainer.floating_point_ops(BATCH) > 0
    trainer.model = make_net()
    assert trainer.floating_point_ops(BATCH) == 0

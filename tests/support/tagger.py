"""A network with an embedding, a hidden layer and a head that are large enough for state in 8 bits."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn


class Tagger(nn.Module):
    """forward: ``ids`` (batch, length), ``labels`` (batch,) of 80 classes."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(80, 64)
        self.hidden = nn.Linear(64, 64)
        self.norm = nn.LayerNorm(64)
        self.head = nn.Linear(64, 80)

    def forward(self, ids: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        hidden = torch.relu(self.hidden(self.embedding(ids)))
        logits = self.head(self.norm(hidden)).mean(1)
        return {"loss": nn.functional.cross_entropy(logits.float(), labels), "logits": logits}


def make_tagger() -> Tagger:
    """The same weights at each call."""
    torch.manual_seed(0)
    return Tagger()


def make_batch(step: int) -> dict[str, torch.Tensor]:
    """Data that depends on the number alone."""
    generator = torch.Generator().manual_seed(step)
    ids = torch.randint(0, 80, (16, 6), generator=generator)
    return {"ids": ids, "labels": ids[:, 0]}


def make_samples() -> list[dict[str, Any]]:
    """The rows of the first batch."""
    batch = make_batch(0)
    return [{"ids": ids, "labels": label} for ids, label in zip(*batch.values(), strict=True)]


def take_steps(model: nn.Module, optimizer: torch.optim.Optimizer, steps: Iterable[int]) -> list[float]:
    """Make the updates with these numbers; return their losses."""
    device = next(model.parameters()).device
    losses = []
    for step in steps:
        loss = model(**{name: value.to(device) for name, value in make_batch(step).items()})["loss"]
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses

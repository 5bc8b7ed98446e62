"""The network and the data that parts are tried on."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

NUM_TOKENS, NUM_CLASSES, WIDTH = 16, 8, 64


class Network(nn.Module):
    """Every sort of parameter that optimizers treat apart, and nothing random.

    ``embedding`` (nn.Embedding), ``hidden`` (nn.Linear of 64 x 64, and GELU), ``norm``
    (nn.LayerNorm), ``head`` (nn.Linear).
    """

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(NUM_TOKENS, WIDTH)
        self.hidden = nn.Sequential(
            nn.Linear(WIDTH, WIDTH), nn.GELU(), nn.Linear(WIDTH, WIDTH), nn.GELU()
        )
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, NUM_CLASSES)

    def forward(self, tokens: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        """Classify rows of tokens.

        Args:
            tokens: Integers of the shape (batch, length).
            labels: Integers of the shape (batch,).

        Returns:
            The loss, a scalar, and ``logits`` of the shape (batch, classes).
        """
        means = self.embedding(tokens).mean(1)
        logits = self.head(self.norm(means + self.hidden(means))) / 2  # in float16 nothing overflows
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


def make_network(dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu") -> Network:
    """The same network every time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        return Network().to(device=device, dtype=dtype)


def make_samples(count: int = 64) -> list[dict[str, Any]]:
    """The same rows of four tokens every time; the label goes by the largest of them."""
    generator = torch.Generator().manual_seed(1)
    rows = torch.randint(NUM_TOKENS, (count, 4), generator=generator)
    return [{"tokens": row, "labels": int(row.max()) * NUM_CLASSES // NUM_TOKENS} for row in rows]


def make_batch(
    number: int, device: torch.device | str = "cpu", size: int = 16
) -> dict[str, torch.Tensor]:
    """A batch that depends on its number alone."""
    samples = make_samples()
    chosen = [samples[(number * size + index) % len(samples)] for index in range(size)]
    tokens = torch.stack([sample["tokens"] for sample in chosen])
    labels = torch.tensor([sample["labels"] for sample in chosen])
    return {"tokens": tokens.to(device), "labels": labels.to(device)}


class Matrix(nn.Module):
    """One matrix to be trained, and a frozen head, by whose presence the matrix is a hidden one."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(width, width, bias=False)
        self.head = nn.Linear(width, 1, bias=False).requires_grad_(False)


def make_matrix(width: int, device: torch.device | str = "cpu") -> Matrix:
    """The same matrix every time; its entries are small."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return Matrix(width).to(device)

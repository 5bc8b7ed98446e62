"""A model with most of what can trouble an update inside backward, and the libraries' own training of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from stepped_by_hand import assert_same_weights as assert_same_weights
from torch import nn

from drivetrain_lomo.library import LibraryAdaLomo, LibraryLomo


class Tied(nn.Module):
    """An output layer that shares the embedding's weight, a frozen layer, and one that is not always used.

    forward: ``tokens`` (batch,); ``is_whole``: use that layer, too.
    """

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(16, 24)
        self.frozen = nn.Linear(24, 24).requires_grad_(False)
        self.hidden = nn.Sequential(nn.Linear(24, 32), nn.GELU(), nn.Linear(32, 24), nn.LayerNorm(24))
        self.extra = nn.Linear(24, 24)
        self.head = nn.Linear(24, 16, bias=False)
        self.head.weight = self.embedding.weight

    def forward(
        self, tokens: torch.Tensor, labels: torch.Tensor, is_whole: bool = True
    ) -> dict[str, torch.Tensor]:
        states = self.hidden(self.frozen(self.embedding(tokens)))
        if is_whole:
            states = states + self.extra(states)
        return {"loss": nn.functional.cross_entropy(self.head(states), labels)}


@pytest.fixture
def make_model() -> Callable[..., Tied]:
    """The same weights at each call."""

    def make(dtype: torch.dtype = torch.float32) -> Tied:
        torch.manual_seed(0)
        return Tied().to(dtype)

    return make


@pytest.fixture
def make_tokens() -> Callable[[int], torch.Tensor]:
    """A batch that depends on its number alone."""

    def make(number: int) -> torch.Tensor:
        return torch.randint(16, (8,), generator=torch.Generator().manual_seed(number))

    return make


@pytest.fixture
def make_library_optimizer() -> Callable[..., LibraryLomo | LibraryAdaLomo]:
    """The class of the library behind a name, as its own documentation has it used."""

    def make(optim: str, model: nn.Module, **kwargs: object) -> LibraryLomo | LibraryAdaLomo:
        return {"lomo": LibraryLomo, "adalomo": LibraryAdaLomo}[optim](model, **kwargs)

    return make

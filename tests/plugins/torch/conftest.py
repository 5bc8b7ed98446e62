"""Arguments on the CPU, and a small problem to train on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from drivetrain import TrainingArguments

MakeArguments = Callable[..., TrainingArguments]
Train = Callable[[nn.Module, Optimizer, int], None]


@pytest.fixture
def arguments(tmp_path: Path) -> MakeArguments:
    """Makes arguments of a run on the CPU."""

    def make(**values: Any) -> TrainingArguments:
        return TrainingArguments(str(tmp_path), **{"report_to": "none", "use_cpu": True, **values})

    return make


@pytest.fixture
def make_model() -> Callable[..., nn.Module]:
    """Makes the same model every time: a convolution, matrices, biases and a normalization."""

    def make(dtype: torch.dtype = torch.float32) -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv1d(3, 4, 3),
            nn.Flatten(),
            nn.Linear(32, 16),
            nn.LayerNorm(16),
            nn.Tanh(),
            nn.Linear(16, 8),
            nn.Linear(8, 4),
        ).to(dtype)

    return make


@pytest.fixture
def train() -> Train:
    """Trains for some updates on the same data every time."""

    def run(model: nn.Module, optimizer: Optimizer, num_steps: int) -> None:
        generator = torch.Generator().manual_seed(1)
        dtype = next(model.parameters()).dtype
        inputs = torch.randn(16, 3, 10, generator=generator).to(dtype)
        targets = torch.randn(16, 4, generator=generator).to(dtype)
        for _ in range(num_steps):
            optimizer.zero_grad()
            nn.functional.mse_loss(model(inputs), targets).backward()
            optimizer.step()

    return run


@pytest.fixture
def groups_of() -> Callable[[nn.Module], list[dict[str, Any]]]:
    """Makes parameter groups as the trainer does: those that decay, and those that do not."""

    def make(model: nn.Module, weight_decay: float = 0.1) -> list[dict[str, Any]]:
        parameters = [p for p in model.parameters() if p.requires_grad]
        return [
            {"params": [p for p in parameters if p.dim() > 1], "weight_decay": weight_decay},
            {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
        ]

    return make


@pytest.fixture
def weights_of() -> Callable[[nn.Module], Tensor]:
    """All weights of a model as one vector."""
    return lambda model: torch.cat([p.detach().flatten() for p in model.parameters()])


@pytest.fixture
def through_disk(tmp_path: Path) -> Callable[[Any], Any]:
    """Saves something, and loads it the way checkpoints are: without unpickling code."""

    def save_and_load(state: Any) -> Any:
        torch.save(state, tmp_path / "state.pt")
        return torch.load(tmp_path / "state.pt", weights_only=True)

    return save_and_load

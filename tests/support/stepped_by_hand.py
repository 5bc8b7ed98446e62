"""Fixtures for optimizers that tests step themselves: a small model, an optimizer for it, its updates.

A conftest imports those that it wants; `make_args` wants a fixture ``default_optim`` there.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import Optimizer

from drivetrain import TrainingArguments
from drivetrain.parts import load_optimizer

MakeArguments = Callable[..., TrainingArguments]


@pytest.fixture
def make_args(tmp_path: Path, default_optim: str) -> MakeArguments:
    """Arguments of a run on the CPU with an optimizer of low rank on ``mlp``."""

    def make(**given: Any) -> TrainingArguments:
        return TrainingArguments(
            **{
                "output_dir": str(tmp_path),
                "use_cpu": True,
                "report_to": "none",
                "max_grad_norm": 0.0,
                "learning_rate": 0.01,
                "optim": default_optim,
                "optim_target_modules": ["mlp"],
                "optim_args": "rank=4, update_proj_gap=3",
                **given,
            }
        )

    return make


@pytest.fixture
def make_model() -> Callable[..., nn.Module]:
    """The same weights at each call: a wide, a tall and a square nn.Linear, and a head."""

    def make(dtype: torch.dtype = torch.float32) -> nn.Module:
        torch.manual_seed(0)
        mlp = OrderedDict(up=nn.Linear(16, 24), act=nn.GELU(), square=nn.Linear(24, 24))
        mlp["down"] = nn.Linear(24, 16)
        layers = OrderedDict(mlp=nn.Sequential(mlp), norm=nn.LayerNorm(16), head=nn.Linear(16, 8))
        return nn.Sequential(layers).to(dtype)

    return make


@pytest.fixture
def make_optimizer(make_args: MakeArguments) -> Callable[..., Optimizer]:
    """The optimizer for a model, of one group for what decays and one for what does not."""

    def make(model: nn.Module, **given: Any) -> Optimizer:
        args = make_args(**given)
        named = list(model.named_parameters())
        is_decayed = {name: name.endswith("weight") and "norm" not in name for name, _ in named}
        groups = [
            {
                "params": [p for name, p in named if is_decayed[name]],
                "weight_decay": args.weight_decay,
            },
            {"params": [p for name, p in named if not is_decayed[name]], "weight_decay": 0.0},
        ]
        return load_optimizer(args).create(model, groups)

    return make


@pytest.fixture
def train() -> Callable[[nn.Module, Optimizer, range], list[float]]:
    """Makes the updates with these numbers, whose batches depend on the number alone."""

    def run(model: nn.Module, optimizer: Optimizer, steps: range) -> list[float]:
        first = next(model.parameters())
        losses = []
        for step in steps:
            generator = torch.Generator().manual_seed(step)
            x = torch.randn(32, 16, generator=generator).to(first)
            loss = (model(x) - x[:, :8].sin()).float().pow(2).mean()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
        return losses

    return run


@pytest.fixture
def assert_same_weights() -> Callable[[nn.Module, nn.Module], None]:
    """Bit by bit."""

    def compare(one: nn.Module, other: nn.Module) -> None:
        for (name, a), b in zip(one.named_parameters(), other.parameters(), strict=True):
            assert torch.equal(a, b), name

    return compare

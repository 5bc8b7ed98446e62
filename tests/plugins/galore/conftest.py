"""A small model, and the optimizers of drivetrain-galore made for it from arguments."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from drivetrain import TrainingArguments
from drivetrain.parts import load_optimizer

MakeArguments = Callable[..., TrainingArguments]
MakeModel = Callable[..., nn.Module]
MakeOptimizer = Callable[..., torch.optim.Optimizer]
Train = Callable[[nn.Module, torch.optim.Optimizer, range], list[float]]


@pytest.fixture
def make_args(tmp_path: Path) -> MakeArguments:
    """Arguments of a run on the CPU with a GaLore optimizer, `galore_adamw` by default."""

    def make(**given: Any) -> TrainingArguments:
        return TrainingArguments(
            **{
                "output_dir": str(tmp_path),
                "use_cpu": True,
                "report_to": "none",
                "max_grad_norm": 0.0,
                "learning_rate": 0.01,
                "optim": "galore_adamw",
                "optim_target_modules": ["mlp"],
                "optim_args": "rank=4, update_proj_gap=3",
                **given,
            }
        )

    return make


@pytest.fixture
def make_model() -> MakeModel:
    """The same weights at each call: a wide, a tall and a square nn.Linear, and a head."""

    def make(dtype: torch.dtype = torch.float32) -> nn.Module:
        torch.manual_seed(0)
        mlp = OrderedDict(up=nn.Linear(16, 24), act=nn.GELU(), square=nn.Linear(24, 24))
        mlp["down"] = nn.Linear(24, 16)
        layers = OrderedDict(mlp=nn.Sequential(mlp), norm=nn.LayerNorm(16), head=nn.Linear(16, 8))
        return nn.Sequential(layers).to(dtype)

    return make


@pytest.fixture
def make_optimizer(make_args: MakeArguments) -> MakeOptimizer:
    """The optimizer for a model, of groups as the trainer makes them."""

    def make(model: nn.Module, **given: Any) -> torch.optim.Optimizer:
        args = make_args(**given)
        named = list(model.named_parameters())
        decayed = [p for name, p in named if name.endswith("weight") and "norm" not in name]
        others = [p for name, p in named if not name.endswith("weight") or "norm" in name]
        groups = [
            {"params": decayed, "weight_decay": args.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ]
        return load_optimizer(args).create(model, groups)

    return make


@pytest.fixture
def train() -> Train:
    """Makes the updates with these numbers, whose batches depend on the number alone."""

    def run(model: nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> list[float]:
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

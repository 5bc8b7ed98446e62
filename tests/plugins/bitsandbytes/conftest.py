"""Arguments of a run with bitsandbytes, and the optimizer that they make for a model."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import drivetrain
from drivetrain.optimization import decay_groups, decay_parameter_names
from drivetrain.parts import load_optimizer

MakeArguments = Callable[..., drivetrain.TrainingArguments]
MakeOptimizer = Callable[..., torch.optim.Optimizer]


@pytest.fixture(autouse=True)
def forgotten_overrides() -> Iterator[None]:
    """Forget what bitsandbytes was told for the whole process (transformers does), by places in groups."""
    yield
    if "bitsandbytes" in sys.modules:
        sys.modules["bitsandbytes"].optim.GlobalOptimManager.get_instance().initialize()


@pytest.fixture
def make_args(tmp_path: Path) -> MakeArguments:
    """Arguments of a short, quiet run on the CPU, with `adamw_8bit` by default."""

    def make(**given: Any) -> drivetrain.TrainingArguments:
        return drivetrain.TrainingArguments(
            **{
                "output_dir": str(tmp_path),
                "use_cpu": True,
                "report_to": "none",
                "learning_rate": 1e-3,
                "weight_decay": 0.1,
                "optim": "adamw_8bit",
                **given,
            }
        )

    return make


@pytest.fixture
def make_optimizer(make_args: MakeArguments) -> MakeOptimizer:
    """The optimizer for a model, of groups as the trainer makes them."""

    def make(model: nn.Module, **given: Any) -> torch.optim.Optimizer:
        args = make_args(**given)
        groups = decay_groups(model, decay_parameter_names(model), args.weight_decay)
        return load_optimizer(args).create(model, groups)

    return make

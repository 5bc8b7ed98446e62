"""A small model, `apollo_adamw` made for it from arguments, and apollo-torch's optimizer called by hand."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
from stepped_by_hand import assert_same_weights as assert_same_weights
from stepped_by_hand import make_args as make_args
from stepped_by_hand import make_model as make_model
from stepped_by_hand import make_optimizer as make_optimizer
from stepped_by_hand import train as train
from torch import nn
from torch.optim import Optimizer


@pytest.fixture
def default_optim() -> str:
    """What is used if no name is given."""
    return "apollo_adamw"


@pytest.fixture
def make_published() -> Callable[..., Optimizer]:
    """What a user of apollo-torch writes by hand: weights in ``mlp`` in a group with these settings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from apollo_torch import APOLLOAdamW

    def make(model: nn.Module, lr: float = 0.01, disable_nl: bool = False, **settings: Any) -> Optimizer:
        named = list(model.named_parameters())
        scaled = [p for name, p in named if name.startswith("mlp") and name.endswith("weight")]
        others = [p for _, p in named if not any(p is one for one in scaled)]
        groups = [{"params": others}, {"params": scaled, **settings}]
        made: Optimizer = APOLLOAdamW(groups, lr=lr, eps=1e-8, disable_nl=disable_nl)
        return made

    return make

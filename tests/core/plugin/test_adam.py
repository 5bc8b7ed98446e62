"""A variant of Adam that is written as the docstring of `AdamPlugin` has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from small import make_args
from torch.optim import Optimizer

import drivetrain
from drivetrain import ArgumentsError
from drivetrain.parts import load_optimizer
from drivetrain.plugin import AdamOptions, AdamPlugin, OptionsError


@dataclass(frozen=True)
class NAdamOptions(AdamOptions):
    momentum_decay: float = 4e-3


class NAdam(AdamPlugin):
    Options = NAdamOptions

    def build(self) -> tuple[type[Optimizer], dict[str, Any]]:
        decay = {"momentum_decay": self.options.momentum_decay}
        return torch.optim.NAdam, {**self.adam_arguments(), **decay}


@pytest.fixture(autouse=True)
def registered() -> None:
    drivetrain.register("optimizer", "nadam", NAdam)


def build(**arguments: Any) -> dict[str, Any]:
    """The keyword arguments that the optimizer is made with."""
    return load_optimizer(make_args(optim="nadam", **arguments)).build()[1]


def test_the_arguments_hold_where_options_are_left_out() -> None:
    assert build(learning_rate=0.02, adam_beta1=0.8, adam_beta2=0.95, adam_epsilon=1e-5) == {
        "lr": 0.02,
        "betas": (0.8, 0.95),
        "eps": 1e-5,
        "momentum_decay": 4e-3,
    }


def test_each_option_overrides_what_it_stands_for_and_no_more() -> None:
    made = build(optim_args="betas=(0.5, 0.0)", adam_epsilon=1e-5)
    assert (made["betas"], made["eps"]) == ((0.5, 0.0), 1e-5)
    made = build(optim_args="eps=0, momentum_decay=0.1", adam_beta1=0.8)
    assert (made["betas"], made["eps"], made["momentum_decay"]) == ((0.8, 0.999), 0.0, 0.1)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (
            "betas=(0.9, 1.0)",
            r"betas=\(0\.9, 1\.0\) must both be in \[0, 1\): type betas=\(0\.9, 0\.999\)",
        ),
        ("betas=(-0.1, 0.9)", r"betas=\(-0\.1, 0\.9\) must both be in \[0, 1\)"),
        ({"betas": (0.9, float("nan"))}, r"betas=\(0\.9, nan\) must both be in \[0, 1\)"),
        ("eps=-1e-8", r"eps=-1e-08 must be 0 or more: type eps=1e-8"),
        ({"eps": float("nan")}, r"eps=nan must be 0 or more"),
    ],
)
def test_options_out_of_range_are_refused_with_what_to_type(options: Any, problem: str) -> None:
    with pytest.raises(OptionsError, match=f"`optim_args`: {problem}"):
        build(optim_args=options)


@pytest.mark.parametrize(
    ("options", "argument", "value"),
    [
        ("betas=(0.9, 0.99)", "adam_beta1", 0.8),
        ("betas=(0.9, 0.99)", "adam_beta2", 0.95),
        ("eps=1e-6", "adam_epsilon", 1e-5),
    ],
)
def test_what_is_given_twice_is_refused(options: str, argument: str, value: float) -> None:
    with pytest.raises(ArgumentsError, match=f"contradicts `{argument}`={value}. Leave out one of them"):
        build(optim_args=options, **{argument: value})

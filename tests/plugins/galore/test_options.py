"""What options mean, and what is said of values that cannot be used."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch

from drivetrain import ArgumentsError
from drivetrain.parts import load_optimizer

pytestmark = pytest.mark.slow

ALL_NAMES = [
    f"galore_{backing}{suffix}"
    for backing in ("adamw", "adamw_8bit", "adafactor")
    for suffix in ("", "_layerwise")
]


def test_the_defaults_are_the_published_ones(make_args: Any) -> None:
    options = load_optimizer(make_args(optim_args=None)).options
    assert (options.rank, options.update_proj_gap, options.scale, options.proj_type) == (
        128,
        200,
        0.25,
        "std",
    )


def test_the_published_spelling_of_options_is_understood(make_args: Any) -> None:
    args = make_args(optim_args="rank=64, update_proj_gap=100, scale=0.10, proj_type=left")
    options = load_optimizer(args).options
    assert (options.rank, options.update_proj_gap, options.scale, options.proj_type) == (
        64,
        100,
        0.1,
        "left",
    )


@pytest.mark.parametrize(
    ("optim", "options", "problem"),
    [
        ("galore_adamw", "rank=0", r"rank=0 is not from 1 up\. Type rank=128, say\."),
        ("galore_adamw", "scale=0", r"scale=0\.0 is not above 0\."),
        ("galore_adamw", "betas=(0.9, 1.0)", r"betas=\(0\.9, 1\.0\) is not in \[0, 1\)"),
        ("galore_adafactor", "eps=(-1e-30, 1e-3)", r"eps=\(-1e-30, 0\.001\) is not from 0 up"),
        (
            "galore_adafactor",
            "decay_rate=1.0",
            r"decay_rate=1\.0 is not below 0\. Type decay_rate=-0\.8",
        ),
        ("galore_adafactor", "relative_step=True", "'relative_step' is no option"),
    ],
)
def test_an_option_that_cannot_be_used_is_refused_with_what_to_type(
    optim: str, options: str, problem: str, make_args: Any
) -> None:
    with pytest.raises(ValueError, match="^`optim_args`: " + problem):
        make_args(optim=optim, optim_args=options)


@pytest.mark.parametrize("optim", ["galore_adamw", "galore_adamw_layerwise"])
def test_the_arguments_of_adam_are_used(optim: str, make_model: Any, make_optimizer: Any) -> None:
    optimizer = make_optimizer(
        make_model(), optim=optim, learning_rate=0.02, adam_beta1=0.8, adam_beta2=0.9, adam_epsilon=1e-5
    )
    for group in optimizer.param_groups:
        assert (group["lr"], group["betas"], group["eps"]) == (0.02, (0.8, 0.9), 1e-5)


def test_options_override_the_arguments_of_adam(make_model: Any, make_optimizer: Any) -> None:
    options = "rank=4, betas=(0.5, 0.6), eps=1e-6, correct_bias=False"
    for group in make_optimizer(make_model(), optim_args=options).param_groups:
        assert (group["betas"], group["eps"], group["correct_bias"]) == ((0.5, 0.6), 1e-6, False)


def test_a_value_that_is_given_twice_is_refused(make_args: Any) -> None:
    with pytest.raises(
        ArgumentsError, match=r"eps=1e-06 contradicts `adam_epsilon`=1e-05\. Leave out one"
    ):
        make_args(optim_args="eps=1e-6", adam_epsilon=1e-5)


@pytest.mark.parametrize("optim", ALL_NAMES)
def test_missing_targets_are_refused_for_every_name(optim: str, make_args: Any) -> None:
    with pytest.raises(ArgumentsError, match="`optim_target_modules`: None names no module"):
        make_args(optim=optim, optim_target_modules=None)


def test_a_rank_that_saves_nothing_is_said(
    make_model: Any, make_optimizer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        make_optimizer(make_model(), optim_args="rank=16")
    assert "rank=16 saves no memory for 2 of 3 targeted modules" in caplog.text
    assert "mlp.up, mlp.down" in caplog.text


def test_a_rank_that_the_library_cannot_compute_with_is_refused(
    make_model: Any, make_optimizer: Any
) -> None:
    with pytest.raises(ValueError, match=r"below the 16 output features of 'mlp\.down'\. Type rank=15"):
        make_optimizer(make_model(), optim_args="rank=16, proj_type=reverse_std")


def test_a_rank_beyond_the_smaller_side_still_trains(
    make_model: Any, make_optimizer: Any, train: Any
) -> None:
    for proj_type in ("std", "left", "right", "full"):
        model = make_model()
        optimizer = make_optimizer(model, optim_args={"rank": 128, "proj_type": proj_type})
        losses = train(model, optimizer, range(3))
        assert all(torch.tensor(losses).isfinite())

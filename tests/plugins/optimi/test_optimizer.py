"""`stable_adamw`: optimi's own weights, its weight decay, and Kahan summation in bfloat16."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from optimi import StableAdamW
from tests.support.small import make_args
from torch import Tensor, nn
from torch.optim import Optimizer

from drivetrain import ArgumentsError
from drivetrain.parts import load_optimizer
from drivetrain.testing import OptimizerSuite

pytestmark = pytest.mark.slow

README = Path(__file__).resolve().parents[3] / "contrib" / "optimi" / "README.md"


class TestStableAdamW(OptimizerSuite):
    name = "stable_adamw"
    accepted_options = {
        "betas": (0.8, 0.99),
        "eps": 1e-3,
        "kahan_sum": True,
        "foreach": True,
    }
    refused_options = {
        "betas": (2.0, 0.9),
        "eps": 0.0,
        "max_lr": 1.0,
        "kahan_sum": "sometimes",
    }


def make_model(dtype: torch.dtype = torch.float32) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 2)).to(
        dtype
    )


def groups_of(model: nn.Module, weight_decay: float = 0.1) -> list[dict[str, Any]]:
    params = list(model.parameters())
    return [
        {"params": [p for p in params if p.dim() > 1], "weight_decay": weight_decay},
        {"params": [p for p in params if p.dim() <= 1], "weight_decay": 0.0},
    ]


def make_optimizer(model: nn.Module, optim_args: Any = "", **values: Any) -> Optimizer:
    values = {"learning_rate": 1e-3, "adam_beta2": 0.99, "weight_decay": 0.1, **values}
    args = make_args(optim="stable_adamw", optim_args=optim_args, **values)
    return load_optimizer(args).create(model, groups_of(model, args.weight_decay))


def train(model: nn.Module, optimizer: Optimizer, num_steps: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(64, 6, generator=generator)
    targets = torch.stack([inputs.sum(1).sin(), inputs[:, 0] * inputs[:, 1]], 1)
    for _ in range(num_steps):
        optimizer.zero_grad()
        outputs = model(inputs.to(next(model.parameters()).dtype)).float()
        nn.functional.mse_loss(outputs, targets).backward()
        optimizer.step()
    return torch.cat([p.detach().float().flatten() for p in model.parameters()])


@pytest.mark.filterwarnings("ignore")  # what the library says, and the plugin in its own words
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"foreach": True},
        {"foreach": False, "kahan_sum": False},
        {"decouple_lr": True},
        {"decouple_lr": True, "max_lr": 1e-2},
    ],
)
def test_the_weights_are_those_of_the_library_to_the_last_bit(
    options: dict[str, Any], dtype: torch.dtype
) -> None:
    ours, theirs = make_model(dtype), make_model(dtype)
    reference = StableAdamW(groups_of(theirs), lr=1e-3, betas=(0.9, 0.99), eps=1e-8, **options)
    weights = train(ours, make_optimizer(ours, options), 10)
    assert torch.equal(weights, train(theirs, reference, 10))


@pytest.mark.parametrize(
    ("options", "share"),
    [
        ({}, 0.01 * 1e-3),
        ({"decouple_lr": True}, 0.01),
        ({"decouple_lr": True, "max_lr": 4e-3}, 0.01 / 4),
    ],
)
def test_what_weight_decay_takes_of_a_weight(options: dict[str, Any], share: float) -> None:
    """With a gradient of zero nothing else changes it; the schedule halves it with the rate."""
    model = nn.Linear(2, 2).double()
    optimizer = make_optimizer(model, options, weight_decay=0.01)
    for factor in (1.0, 0.5):
        before = model.weight.detach().clone()
        for group in optimizer.param_groups:
            group["lr"] = factor * 1e-3
        for p in model.parameters():
            p.grad = torch.zeros_like(p)
        optimizer.step()
        torch.testing.assert_close(
            model.weight.detach(), before * (1 - factor * share), rtol=1e-9, atol=0
        )


def test_in_bfloat16_kahan_summation_follows_training_in_float32() -> None:
    def distance(optim_args: str) -> float:
        model = make_model(torch.bfloat16)
        return float((train(model, make_optimizer(model, optim_args), 200) - exact).norm())

    reference = make_model(torch.bfloat16).float()  # begins with the same rounded weights
    exact = train(reference, make_optimizer(reference), 200)
    assert distance("kahan_sum=False") > 3 * distance("kahan_sum=True")
    assert distance("") == distance("kahan_sum=True")


def test_without_an_epsilon_a_gradient_of_zero_would_not_be_finite() -> None:
    """Which is why it is refused."""
    weight = nn.Parameter(torch.ones(2))
    weight.grad = torch.zeros(2)
    StableAdamW([weight], lr=1e-3, eps=0.0).step()
    assert not weight.isfinite().any()
    with pytest.raises(
        ArgumentsError, match="`adam_epsilon`: 0.0 cannot be used with `optim`='stable_adamw'"
    ):
        make_args(optim="stable_adamw", adam_epsilon=0.0)


def test_a_highest_rate_below_the_rate_is_refused() -> None:
    with pytest.raises(
        ArgumentsError, match=r"max_lr=0.001 is to be .* Type max_lr=0.01, or leave it out"
    ):
        make_args(optim="stable_adamw", learning_rate=1e-2, optim_args="max_lr=1e-3, decouple_lr=True")


def test_triton_is_refused_on_a_cpu() -> None:
    with pytest.raises(
        ArgumentsError, match=r"`optim_args`: triton=True needs a GPU .* on 'cpu'. Leave it"
    ):
        make_args(optim="stable_adamw", optim_args="triton=True")


def test_two_ways_to_update_many_weights_are_refused() -> None:
    with pytest.raises(ValueError, match="foreach=True and triton=True exclude each other"):
        make_args(optim="stable_adamw", optim_args="triton=True, foreach=True")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="Triton's kernels need a GPU")
def test_triton_gives_the_same_weights_up_to_rounding() -> None:
    pytest.importorskip("triton")
    weights = []
    for triton in (True, False):
        model = make_model().cuda()
        options = {"triton": triton}
        args = make_args(optim="stable_adamw", optim_args=options, learning_rate=1e-3, use_cpu=False)
        optimizer = load_optimizer(args).create(model, groups_of(model))
        for step in range(10):
            for p in model.parameters():
                p.grad = torch.full_like(p, 0.1 * (step - 4))
            optimizer.step()
        weights.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    torch.testing.assert_close(*weights, rtol=1e-4, atol=1e-6)


def test_a_high_weight_decay_that_the_rate_does_not_reduce_is_told() -> None:
    def said(weight_decay: float, optim_args: str) -> list[str]:
        args = make_args(optim="stable_adamw", optim_args=optim_args, weight_decay=weight_decay)
        return list(load_optimizer(args).warnings())

    (warning,) = said(0.01, "decouple_lr=True")
    assert warning.startswith(
        "`weight_decay`: with decouple_lr=True each update at the highest rate takes 0.01"
    )
    assert said(1e-5, "decouple_lr=True") == said(0.01, "") == []


def test_the_snippet_of_the_readme_runs(tmp_path: Path) -> None:
    (snippet,) = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", snippet], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr

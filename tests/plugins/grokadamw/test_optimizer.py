"""`grokadamw`: the library's weights, AdamW's where all is off, and a signal that evaluations give."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.support.small import are_equal, make_args, make_net, make_trainer, weights_of
from torch import Tensor, nn
from torch.optim import Optimizer

from drivetrain import ArgumentsError, Trainer
from drivetrain.parts import load_optimizer
from drivetrain.testing import OptimizerSuite

pytestmark = pytest.mark.slow

README = Path(__file__).resolve().parents[3] / "contrib" / "grokadamw" / "README.md"
NOTHING_ADDED = "lamb=0, gamma=0, gradient_clipping=0"


class TestGrokAdamW(OptimizerSuite):
    name = "grokadamw"
    accepted_options = {
        "alpha_init": 0.9,
        "lamb": 1.0,
        "gamma": 0.0,
        "gradient_clipping": 0.1,
        "betas": (0.8, 0.99),
        "eps": 1e-3,
    }
    refused_options = {
        "alpha_init": 1.0,
        "lamb": -1.0,
        "gamma": 1.0,
        "grokking_signal": "accuracy",
        "grokking_signal_decay_rate": -0.1,
        "gradient_clipping": -1.0,
        "betas": (2.0, 0.9),
        "eps": -1.0,
    }


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> type[Optimizer]:
    """The optimizer of the library, which configures logging when it is imported."""
    monkeypatch.setattr(logging, "basicConfig", lambda **_: None)
    from grokadamw import GrokAdamW

    return GrokAdamW


def make_model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(6, 9), nn.Tanh(), nn.Linear(9, 9), nn.Tanh(), nn.Linear(9, 2)
    ).double()


def groups_of(model: nn.Module) -> list[dict[str, Any]]:
    params = list(model.parameters())
    return [
        {"params": [p for p in params if p.dim() > 1], "weight_decay": 0.1},
        {"params": [p for p in params if p.dim() <= 1], "weight_decay": 0.0},
    ]


def make_optimizer(model: nn.Module, optim_args: Any, optim: str = "grokadamw") -> Optimizer:
    args = make_args(optim=optim, optim_args=optim_args, learning_rate=1e-2)
    return load_optimizer(args).create(model, groups_of(model))


def train(model: nn.Module, optimizer: Optimizer, num_steps: int = 40, size: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    for _ in range(num_steps):
        for p in model.parameters():
            p.grad = size * torch.randn(p.shape, generator=generator, dtype=p.dtype)
        optimizer.step()
    return torch.cat([p.detach().flatten() for p in model.parameters()])


@pytest.mark.filterwarnings("ignore")  # the library's, of its use of autocast
@pytest.mark.parametrize("size", [0.01, 1.0])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"alpha_init": 0.9, "lamb": 0.5, "gamma": 0.3},
        {"gradient_clipping": 0.0},
        {"betas": (0.8, 0.9)},
    ],
)
def test_the_weights_are_those_of_the_library(
    library: type[Optimizer], options: dict[str, Any], size: float
) -> None:
    """With an ``eps`` that makes no difference: it is added in another place."""
    ours, theirs = make_model(), make_model()
    reference = library(groups_of(theirs), lr=1e-2, eps=1e-16, **options)
    weights = train(ours, make_optimizer(ours, {**options, "eps": 1e-16}), size=size)
    torch.testing.assert_close(weights, train(theirs, reference, size=size), rtol=0, atol=1e-10)


@pytest.mark.filterwarnings("ignore")
def test_a_state_of_the_library_is_refused_as_it_does_not_hold_what_it_should(
    library: type[Optimizer],
) -> None:
    model = make_model()
    theirs = library(groups_of(model), lr=1e-2)
    train(model, theirs, num_steps=2)
    assert theirs.state_dict()["state"] == {}
    with pytest.raises(
        ValueError, match=r"library `grokadamw`.*`train` without `resume_from_checkpoint`"
    ):
        make_optimizer(model, "").load_state_dict(theirs.state_dict())


def test_with_all_that_it_adds_left_out_it_is_adamw_to_the_last_bit() -> None:
    ours, theirs = make_model(), make_model()
    weights = train(ours, make_optimizer(ours, NOTHING_ADDED))
    assert torch.equal(weights, train(theirs, make_optimizer(theirs, "", optim="adamw_torch")))


def test_the_gradients_are_left_as_they_were() -> None:
    model = make_model()
    optimizer = make_optimizer(model, "gradient_clipping=0.001")
    gradients = [torch.full_like(p, 5.0) for p in model.parameters()]
    for p, gradient in zip(model.parameters(), gradients, strict=True):
        p.grad = gradient.clone()
    optimizer.step()
    assert all(torch.equal(p.grad, g) for p, g in zip(model.parameters(), gradients, strict=True))


def test_a_first_update_follows_the_published_formula() -> None:
    model = nn.Linear(1, 1, bias=False).double()
    nn.init.constant_(model.weight, 2.0)
    optimizer = make_optimizer(model, "lamb=3, alpha_init=0.75, gradient_clipping=0.5, betas=(0.5, 0.9)")
    model.weight.grad = torch.full_like(model.weight, 10.0)
    optimizer.step()
    (state,) = optimizer.state.values()
    amplified = 0.5 + 3 * 0.25 * 0.5  # clipped to 0.5
    assert state["grok_exp_avg"].item() == pytest.approx(0.25 * 0.5)
    assert state["exp_avg"].item() == pytest.approx(0.5 * amplified)
    assert state["exp_avg_sq"].item() == pytest.approx(0.1 * amplified**2)
    assert model.weight.item() == pytest.approx(2.0 - 1e-2 * (1.0 + 0.1 * 2.0))


SIGNAL: dict[str, Any] = {
    "optim": "grokadamw",
    "optim_args": "grokking_signal=losses, grokking_signal_decay_rate=2.0",
    "eval_strategy": "steps",
    "eval_steps": 2,
    "max_steps": 8,
}


class Generalizing(Trainer):
    """Its evaluations give what the test says."""

    losses: Callable[[int], dict[str, float]]

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        super().evaluate(*args, **kwargs)
        return self.losses(self.state.global_step)


def make_generalizing(losses: Callable[[int], dict[str, float]], **values: Any) -> Generalizing:
    trainer = make_trainer(Generalizing, **{**SIGNAL, **values})
    assert isinstance(trainer, Generalizing)
    trainer.losses = losses
    return trainer


def signal_of(trainer: Trainer) -> float:
    (signal,) = {group["grokking_signal"] for group in trainer.optimizer.param_groups}
    return float(signal)


@pytest.mark.parametrize(
    ("metrics", "signal"),
    [
        (lambda trained: {"eval_loss": 1.5 * trained, "eval_other_loss": 9.0}, 0.5),
        (lambda trained: {"eval_a_loss": 1.5 * trained, "eval_b_loss": 2.5 * trained}, 1.0),
        (lambda trained: {"eval_loss": 0.5 * trained}, 0.0),
        (lambda _: {"eval_accuracy": 1.0}, 0.0),
    ],
)
def test_the_signal_is_how_far_evaluation_is_behind(tmp_path: Path, metrics: Any, signal: float) -> None:
    def losses(step: int) -> dict[str, float]:
        (trained,) = [
            logs["loss"] for logs in trainer.state.log_history if logs["step"] == step and "loss" in logs
        ]
        return metrics(trained)

    trainer = make_generalizing(losses, output_dir=tmp_path)
    trainer.train()
    assert signal_of(trainer) == pytest.approx(signal)


def test_a_signal_makes_the_slow_part_forget_faster(tmp_path: Path) -> None:
    def slow_parts(loss: float) -> Tensor:
        trainer = make_generalizing(lambda _: {"eval_loss": loss}, output_dir=tmp_path)
        trainer.train()
        return torch.cat([s["grok_exp_avg"].flatten() for s in trainer.optimizer.state.values()])

    assert slow_parts(100.0).norm() > 3 * slow_parts(0.0).norm()  # it takes more of the new, as well


def test_a_run_with_a_signal_resumes_to_the_last_bit(tmp_path: Path) -> None:
    def run(folder: str, **values: Any) -> Trainer:
        values = {"output_dir": tmp_path / folder, "save_strategy": "steps", "save_steps": 4, **values}
        return make_generalizing(lambda step: {"eval_loss": 3.0 + step}, **values)

    whole, resumed = run("whole"), run("resumed", model=make_net(seed=3))
    whole.train()
    resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-4"))
    assert signal_of(whole) == signal_of(resumed) > 0.0
    assert are_equal(weights_of(whole), weights_of(resumed))


@pytest.mark.parametrize("missing", ["eval_strategy", "logging_strategy"])
def test_a_signal_that_nothing_would_give_is_refused(missing: str) -> None:
    with pytest.raises(
        ArgumentsError, match=f"with `{missing}`='no' there is none. Type {missing}='steps'"
    ):
        make_args(**{**SIGNAL, missing: "no"})


def test_a_decay_rate_without_a_signal_is_told() -> None:
    args = make_args(optim="grokadamw", optim_args="grokking_signal_decay_rate=0.2")
    (said,) = load_optimizer(args).warnings()
    assert said.startswith("`optim_args`: grokking_signal_decay_rate=0.2 has no effect without a signal")
    with_signal = load_optimizer(make_args(**SIGNAL))
    assert list(with_signal.warnings()) == []


def test_the_snippet_of_the_readme_runs(tmp_path: Path) -> None:
    (snippet,) = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", snippet], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr

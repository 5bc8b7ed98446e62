"""`adamw_anyprecision`: AdamW to the last bit in float32, and close to it in 16 bits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.support.small import make_trainer
from torch import Tensor, nn
from torch.optim import Optimizer

from drivetrain import TrainingArguments
from drivetrain.parts import load_optimizer
from drivetrain.testing import OptimizerSuite

pytestmark = pytest.mark.slow

MakeOptimizer = Callable[..., Optimizer]
KAHAN = "use_kahan_summation=True, momentum_dtype=bfloat16, variance_dtype=bfloat16"


class TestAnyPrecision(OptimizerSuite):
    name = "adamw_anyprecision"
    accepted_options = {
        "betas": (0.8, 0.99),
        "eps": 1e-3,
        "use_kahan_summation": True,
        "momentum_dtype": "bfloat16",
        "variance_dtype": "bfloat16",
    }
    refused_options = {
        "betas": (2.0, 0.9),
        "eps": -1.0,
        "momentum_dtype": "int8",
        "variance_dtype": "double",
        "compensation_buffer_dtype": "8bit",
    }


class TestAnyPrecisionWithKahanSummation(OptimizerSuite):
    name = "adamw_anyprecision"
    options = {"use_kahan_summation": True, "momentum_dtype": "bfloat16"}


@pytest.fixture
def make(arguments: Any, groups_of: Any) -> MakeOptimizer:
    """Makes an optimizer for a model from arguments."""

    def from_arguments(model: nn.Module, optim_args: str = "", **values: Any) -> Optimizer:
        args = arguments(
            **{
                "optim": "adamw_anyprecision",
                "optim_args": optim_args,
                "learning_rate": 1e-3,
                "adam_beta2": 0.99,
                **values,
            }
        )
        return load_optimizer(args).create(model, groups_of(model))

    return from_arguments


def messages_of(**values: Any) -> list[str]:
    args = TrainingArguments("out", optim="adamw_anyprecision", use_cpu=True, report_to="none", **values)
    return list(load_optimizer(args).warnings())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_is_adamw_of_torch_to_the_last_bit(make, make_model, train, weights_of, dtype) -> None:
    """In float64 with moments in it, which no option asks for: by the class."""
    ours, theirs = make_model(dtype), make_model(dtype)
    optimizer = make(ours)
    if dtype == torch.float64:
        for group in optimizer.param_groups:
            group["momentum_dtype"] = group["variance_dtype"] = "float64"
    train(ours, optimizer, 12)
    train(theirs, make(theirs, optim="adamw_torch"), 12)
    assert torch.equal(weights_of(ours), weights_of(theirs))


def test_many_and_large_parameters_are_updated_as_few_and_small_ones_are(make) -> None:
    """They are computed in several rounds."""

    def make_wide() -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(300, 300), *[nn.Linear(100, 100) for _ in range(9)])

    models = make_wide(), make_wide()
    optimizers = make(models[0]), make(models[1], optim="adamw_torch")
    for model, optimizer in zip(models, optimizers, strict=True):
        generator = torch.Generator().manual_seed(1)
        for _ in range(3):
            for p in model.parameters():
                p.grad = torch.randn(p.shape, generator=generator)
            optimizer.step()
    for ours, theirs in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_in_bfloat16_kahan_summation_follows_training_in_float32(
    make, make_model, train, weights_of
) -> None:
    def distance(optim_args: str) -> float:
        model = make_model(torch.bfloat16)
        train(model, make(model, optim_args), 200)
        return float((weights_of(model).float() - exact).norm() / exact_change)

    reference = make_model(torch.bfloat16).float()  # begins with the same rounded weights
    before = weights_of(reference)
    train(reference, make(reference), 200)
    exact = weights_of(reference)
    exact_change = (exact - before).norm()

    without, with_kahan = distance(""), distance("use_kahan_summation=True")
    assert with_kahan < 0.1
    assert without > 5 * with_kahan
    assert distance(KAHAN) < without / 3


def test_weight_decay_too_small_for_a_bfloat16_is_not_lost(make) -> None:
    def decay(optim_args: str) -> Tensor:
        model = nn.Linear(4, 4, bias=False).to(torch.bfloat16)
        nn.init.constant_(model.weight, 1.5)
        optimizer = make(model, optim_args)
        for _ in range(400):
            model.weight.grad = torch.zeros_like(model.weight)
            optimizer.step()  # the rate 1e-3 times the decay 0.1
        return model.weight.detach().float()

    assert torch.all(decay("") == 1.5)
    torch.testing.assert_close(
        decay("use_kahan_summation=True"), torch.full((4, 4), 1.5 * (1 - 1e-4) ** 400), rtol=4e-3, atol=0
    )


@pytest.mark.parametrize("weights", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("optim_args", "formats"),
    [
        ("", {"exp_avg": torch.float32, "exp_avg_sq": torch.float32}),
        ("momentum_dtype=float16", {"exp_avg": torch.float16, "exp_avg_sq": torch.float32}),
        (
            f"{KAHAN}, compensation_buffer_dtype=float32",
            {"exp_avg": torch.bfloat16, "exp_avg_sq": torch.bfloat16, "compensation": torch.float32},
        ),
    ],
)
def test_the_state_has_the_formats_and_keeps_them_in_a_checkpoint(
    make, make_model, train, through_disk, weights_of, weights, optim_args, formats
) -> None:
    model, resumed = make_model(weights), make_model(weights)
    optimizer, fresh = make(model, optim_args), make(resumed, optim_args)
    train(model, optimizer, 3)
    resumed.load_state_dict(model.state_dict())
    fresh.load_state_dict(through_disk(optimizer.state_dict()))
    for some in (optimizer, fresh):
        for state in some.state.values():
            assert {name: state[name].dtype for name in state if name != "step"} == formats
    train(model, optimizer, 3)
    train(resumed, fresh, 3)
    assert torch.equal(weights_of(model), weights_of(resumed))


def test_a_state_of_adamw_torch_is_taken_up(make, make_model, train, through_disk, weights_of) -> None:
    model, resumed = make_model(), make_model()
    optimizer, ours = make(model, optim="adamw_torch"), make(resumed)
    train(model, optimizer, 3)
    resumed.load_state_dict(model.state_dict())
    ours.load_state_dict(through_disk(optimizer.state_dict()))
    train(model, optimizer, 3)
    train(resumed, ours, 3)
    assert torch.equal(weights_of(model), weights_of(resumed))


def test_the_published_example_trains(tmp_path: Path) -> None:
    trainer = make_trainer(
        output_dir=tmp_path,
        optim="adamw_anyprecision",
        optim_args="momentum_dtype=float32,variance_dtype=bfloat16",
        adam_beta2=0.95,
    )
    trainer.train()
    states = trainer.optimizer.state.values()
    assert {state["exp_avg"].dtype for state in states} == {torch.float32}
    assert {state["exp_avg_sq"].dtype for state in states} == {torch.bfloat16}


def test_a_variance_that_cannot_fall_is_told_and_does_not_fall(make) -> None:
    (said,) = messages_of(optim_args="variance_dtype=bfloat16")
    assert said.startswith(
        "`optim_args`: variance_dtype='bfloat16' keeps 8 significant bits, and with a"
    )
    assert messages_of(optim_args="variance_dtype=float16") == []
    assert messages_of(optim_args="variance_dtype=bfloat16", adam_beta2=0.99) == []
    assert messages_of(optim_args="variance_dtype=bfloat16, betas=(0.9, 0.99)") == []

    def variance_after_small_gradients(beta2: float) -> float:
        model = nn.Linear(1, 1, bias=False)
        optimizer = make(model, "variance_dtype=bfloat16", adam_beta2=beta2)
        for step in range(300):
            model.weight.grad = torch.full_like(model.weight, 1.0 if step == 0 else 0.0)
            optimizer.step()
        return float(optimizer.state[model.weight]["exp_avg_sq"] / (1 - beta2))

    assert variance_after_small_gradients(0.999) == pytest.approx(1.0, rel=1e-2)
    assert variance_after_small_gradients(0.99) < 0.2


def test_a_buffer_without_summation_is_told() -> None:
    (said,) = messages_of(optim_args="compensation_buffer_dtype=float32")
    assert "has no effect without Kahan summation. Type use_kahan_summation=True" in said
    assert messages_of(optim_args="compensation_buffer_dtype=float32, use_kahan_summation=True") == []

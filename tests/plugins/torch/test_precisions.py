from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from drivetrain import ArgumentsError
from drivetrain.parts import load_precision
from drivetrain.testing import PrecisionSuite

CPU = torch.device("cpu")


@pytest.mark.slow
class TestFullPrecision(PrecisionSuite):
    name = "no"


@pytest.mark.slow
class TestBFloat16(PrecisionSuite):
    name = "bf16"
    dtype = torch.bfloat16


class TestFloat16(PrecisionSuite):
    name = "fp16"
    dtype = torch.float16


@pytest.fixture
def precision(arguments):
    """The precision part that arguments ask for."""
    return lambda **values: load_precision(arguments(**values))


def update(part, optimizer, weight, factor=1.0):
    """One update in the order of the loop; says whether the optimizer was stepped."""
    optimizer.zero_grad()
    part.scale((weight * factor).sum()).backward()
    part.unscale(optimizer)
    return part.step(optimizer)


def test_full_precision_leaves_everything_alone(precision):
    part, model = precision(), nn.Linear(2, 2)
    with part.autocast(CPU):
        assert model(torch.ones(1, 2)).dtype == torch.float32
    loss = torch.ones(())
    assert part.scale(loss) is loss
    assert part.state_dict() == {}


@pytest.mark.parametrize("cache_enabled", [True, False])
def test_mixed_precision_caches_casts_only_if_asked(precision, cache_enabled):
    with precision(bf16=True).autocast(CPU, cache_enabled=cache_enabled):
        assert torch.is_autocast_cache_enabled() == cache_enabled


def test_a_precision_can_be_chosen_by_name(precision):
    with precision(precision="bf16").autocast(CPU):
        assert torch.get_autocast_dtype("cpu") == torch.bfloat16


@pytest.mark.parametrize("fused", [None, True])
def test_an_update_whose_gradients_overflow_is_left_out(precision, fused):
    part = precision(fp16=True)
    weight = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.AdamW([weight], fused=fused)

    assert update(part, optimizer, weight)
    before = weight.detach().clone()
    assert not update(part, optimizer, weight, factor=float("inf"))
    assert torch.equal(weight, before)
    assert part.state_dict()["scale"] == 2**15
    assert update(part, optimizer, weight)
    assert not torch.equal(weight, before)


def test_the_scale_goes_on_where_it_was_saved(precision, through_disk):
    part = precision(fp16=True)
    weight = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    update(part, optimizer, weight, factor=float("inf"))
    update(part, optimizer, weight)

    other = precision(fp16=True)
    other.load_state_dict(through_disk(part.state_dict()))
    assert other.state_dict() == part.state_dict()
    assert other.scale(torch.ones(())) == 2**15


def test_the_scale_has_the_state_that_transformers_saves(precision):
    assert precision(fp16=True).state_dict() == torch.amp.GradScaler("cpu").state_dict()


def test_a_run_that_can_learn_nothing_any_more_ends(precision):
    part = precision(fp16=True)
    part.load_state_dict({**torch.amp.GradScaler("cpu").state_dict(), "scale": 2.0**-149})
    weight = nn.Parameter(torch.ones(2))
    with pytest.raises(FloatingPointError, match=r"`fp16`: the gradients overflowed .* bf16=True"):
        update(part, torch.optim.SGD([weight], lr=0.1), weight, factor=float("nan"))


def test_weights_in_float16_are_refused_by_name(precision):
    part = precision(fp16=True)
    assert part.alter_model(model=nn.Linear(2, 2)) is None
    with pytest.raises(ValueError, match=r"`fp16`: .*2 of them .*'weight'.*model.float\(\)"):
        part.alter_model(model=nn.Linear(2, 2).half())


def test_frozen_weights_may_be_in_float16(precision):
    precision(fp16=True).alter_model(model=nn.Linear(2, 2).half().requires_grad_(False))


def pretend_gpu(monkeypatch, *, native, emulated):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Tesla P100")
    monkeypatch.setattr(
        torch.cuda,
        "is_bf16_supported",
        lambda including_emulation: emulated if including_emulation else native,
    )


def test_bfloat16_is_refused_on_a_gpu_without_it(arguments, monkeypatch):
    pretend_gpu(monkeypatch, native=False, emulated=False)
    with pytest.raises(ArgumentsError, match=r"`bf16`: .*Tesla P100 does not.*fp16=True"):
        arguments(bf16=True, use_cpu=False)


def test_emulated_bfloat16_is_mentioned(arguments, monkeypatch, caplog):
    pretend_gpu(monkeypatch, native=False, emulated=True)
    with caplog.at_level(logging.WARNING):
        arguments(bf16=True, use_cpu=False)
    assert "`bf16`: Tesla P100 does not compute in bfloat16; torch emulates it" in caplog.text


def test_bfloat16_on_a_gpu_that_has_it_says_nothing(arguments, monkeypatch, caplog):
    pretend_gpu(monkeypatch, native=True, emulated=True)
    arguments(bf16=True, use_cpu=False)
    assert not caplog.text


@pytest.mark.parametrize(
    ("version", "is_refused"), [("2.7.1", True), ("2.8.0", False), ("2.13.0+cpu", False)]
)
def test_float16_on_apple_needs_a_torch_that_scales_there(precision, monkeypatch, version, is_refused):
    part = precision(fp16=True)
    monkeypatch.setattr(torch, "__version__", torch.torch_version.TorchVersion(version))
    part.args = SimpleNamespace(device=torch.device("mps"))
    assert any("torch>=2.8" in problem for problem in part.problems()) == is_refused

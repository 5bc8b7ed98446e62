"""The 8-bit optimizer, which bitsandbytes updates on the CPU as on a GPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from drivetrain.parts import load_optimizer

pytestmark = pytest.mark.slow

NAMES = ["galore_adamw_8bit", "galore_adamw_8bit_layerwise"]
PROJECTIONS = ["std", "reverse_std", "right", "left", "full"]


def make_wide_model(device: str = "cpu", dtype: torch.dtype = torch.float32) -> nn.Module:
    """Weights whose projected states (2048 x 4, 4 x 2048) are large enough for 8 bits."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(16, 2048), nn.GELU(), nn.Linear(2048, 16)).to(device, dtype)


def train_wide(model: nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> list[float]:
    losses = []
    for step in steps:
        x = torch.randn(32, 16, generator=torch.Generator().manual_seed(step)).to(model[0].weight)
        loss = (model(x) - x.sin()).float().pow(2).mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


@pytest.fixture
def make_eight_bits(make_optimizer: Any) -> Callable[..., torch.optim.Optimizer]:
    """The optimizer for all weights of a model."""

    def make(model: nn.Module, **given: Any) -> torch.optim.Optimizer:
        settings = {"optim": "galore_adamw_8bit", "optim_target_modules": "all-linear", **given}
        made: torch.optim.Optimizer = make_optimizer(model, **settings)
        return made

    return make


@pytest.fixture
def make_published(monkeypatch: pytest.MonkeyPatch) -> Callable[..., torch.optim.Optimizer]:
    """What galore-torch has, with the constructor and the device that it was written for."""
    from galore_torch import GaLoreAdamW8bit

    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)

    class Published(GaLoreAdamW8bit):  # type: ignore[misc]
        def __init__(self, params: Any, **given: Any) -> None:
            super(GaLoreAdamW8bit, self).__init__("adam", params, optim_bits=8, **given)

    def make(model: nn.Module, **projection: Any) -> torch.optim.Optimizer:
        weights, biases = [model[0].weight, model[2].weight], [model[0].bias, model[2].bias]
        groups = [
            {"params": weights, "weight_decay": 0.1, **projection},
            {"params": biases, "weight_decay": 0.0},
        ]
        made: torch.optim.Optimizer = Published(groups, lr=0.01)
        return made

    return make


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("proj_type", PROJECTIONS)
def test_weights_equal_those_of_galore_torch(
    proj_type: str,
    dtype: torch.dtype,
    make_eight_bits: Any,
    make_published: Any,
    assert_same_weights: Any,
) -> None:
    projection = {"rank": 4, "update_proj_gap": 3, "scale": 0.25, "proj_type": proj_type}
    ours, theirs = make_wide_model(dtype=dtype), make_wide_model(dtype=dtype)
    train_wide(ours, make_eight_bits(ours, optim_args=projection, weight_decay=0.1), range(8))
    train_wide(theirs, make_published(theirs, **projection), range(8))
    assert_same_weights(ours, theirs)


def test_the_state_is_in_eight_bits_from_a_size_on(make_eight_bits: Any) -> None:
    model = make_wide_model()
    optimizer = make_eight_bits(model)
    train_wide(model, optimizer, range(2))
    state = optimizer.state[model[0].weight]
    assert (state["state1"].dtype, state["state1"].shape) == (torch.uint8, (2048, 4))
    assert optimizer.state[model[0].bias]["state1"].dtype == torch.float32
    assert len(optimizer.state) == 4


def test_arguments_reach_bitsandbytes_under_their_own_names(make_eight_bits: Any) -> None:
    options = "min_8bit_size=8192, betas=(0.8, 0.95), eps=1e-6"
    optimizer = make_eight_bits(make_wide_model(), optim_args=options)
    settings = optimizer.args
    assert (settings.optim_bits, settings.min_8bit_size) == (8, 8192)
    assert not getattr(settings, "max_unorm", 0.0)
    assert not getattr(settings, "skip_zeros", False)
    for group in optimizer.param_groups:
        assert (group["lr"], group["betas"], group["eps"]) == (0.01, (0.8, 0.95), 1e-6)


def test_a_step_leaves_the_gradient_and_nothing_else_on_the_parameter(make_eight_bits: Any) -> None:
    model = make_wide_model()
    optimizer = make_eight_bits(model)
    model(torch.ones(4, 16)).pow(2).mean().backward()
    gradients = [parameter.grad.clone() for parameter in model.parameters()]
    optimizer.step()
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        assert torch.equal(parameter.grad, gradient)
        assert not vars(parameter)


@pytest.mark.parametrize("optim", NAMES)
def test_a_device_without_eight_bit_updates_is_refused(
    optim: str, make_args: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = load_optimizer(make_args(optim=optim))
    monkeypatch.setattr(type(plugin.args), "device", torch.device("mps"))
    (problem,) = plugin.problems()
    assert problem.startswith(f"`optim`: {optim!r} runs on a CPU or a CUDA GPU, and this run is on mps")
    assert f"Type optim={optim.replace('_8bit', '')!r}" in problem


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize("optim", NAMES)
def test_training_in_eight_bits_lowers_the_loss_on_a_gpu(optim: str, make_eight_bits: Any) -> None:
    model = make_wide_model("cuda")
    given = {"optim": optim, "use_cpu": False, "optim_args": "rank=4, scale=1.0", "learning_rate": 0.002}
    losses = train_wide(model, make_eight_bits(model, **given), range(100))
    assert sum(losses[-10:]) < 0.5 * sum(losses[:10])

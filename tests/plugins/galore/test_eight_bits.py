"""The 8-bit optimizer: on a GPU where there is one, and its bookkeeping on the CPU where not.

galore-torch's 8-bit step only fails on the CPU because it calls `torch.cuda.synchronize`; what
bitsandbytes computes there is the same algorithm.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")


def make_wide_model(device: str = "cpu") -> nn.Module:
    """Weights whose projected states (2048 x 4, 4 x 2048) are large enough for 8 bits."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(16, 2048), nn.GELU(), nn.Linear(2048, 16)).to(device)


def train_wide(model: nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> list[float]:
    losses = []
    for step in steps:
        x = torch.randn(32, 16, generator=torch.Generator().manual_seed(step)).to(model[0].weight)
        loss = (model(x) - x.sin()).pow(2).mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


@pytest.fixture
def make_on_cpu(monkeypatch: pytest.MonkeyPatch) -> Any:
    from drivetrain_galore import backward, state

    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)

    def make(model: nn.Module, is_layerwise: bool = False) -> torch.optim.Optimizer:
        projection = {"rank": 4, "update_proj_gap": 3, "scale": 0.25, "proj_type": "std"}
        weights, biases = [model[0].weight, model[2].weight], [model[0].bias, model[2].bias]
        groups = [
            {"params": weights, "weight_decay": 0.1, **projection},
            {"params": biases, "weight_decay": 0.0},
        ]
        return (backward if is_layerwise else state).AdamW8bit(groups, lr=0.01)

    return make


def test_the_state_is_in_eight_bits(make_on_cpu: Any) -> None:
    model = make_wide_model()
    optimizer = make_on_cpu(model)
    train_wide(model, optimizer, range(2))
    assert optimizer.state[model[0].weight]["state1"].dtype == torch.uint8
    assert optimizer.state[model[0].weight]["state1"].shape == (2048, 4)


def test_arguments_reach_bitsandbytes_under_their_own_names(make_on_cpu: Any) -> None:
    settings = make_on_cpu(make_wide_model()).args
    assert (settings.optim_bits, settings.min_8bit_size) == (8, 4096)
    assert not getattr(settings, "max_unorm", 0.0)
    assert not getattr(settings, "skip_zeros", False)


def test_a_step_leaves_the_gradient_and_nothing_else_on_the_parameter(make_on_cpu: Any) -> None:
    model = make_wide_model()
    optimizer = make_on_cpu(model)
    model(torch.ones(4, 16)).pow(2).mean().backward()
    gradients = [parameter.grad.clone() for parameter in model.parameters()]
    optimizer.step()
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        assert torch.equal(parameter.grad, gradient)
        assert not vars(parameter)


@pytest.mark.parametrize("is_layerwise", [False, True])
def test_a_run_in_eight_bits_resumes_exactly(
    is_layerwise: bool, make_on_cpu: Any, assert_same_weights: Any, tmp_path: Path
) -> None:
    whole, stopped = make_wide_model(), make_wide_model()
    train_wide(whole, make_on_cpu(whole, is_layerwise), range(8))
    first = make_on_cpu(stopped, is_layerwise)
    train_wide(stopped, first, range(5))
    torch.save(first.state_dict(), tmp_path / "optimizer.pt")
    resumed = copy.deepcopy(stopped)
    second = make_on_cpu(resumed, is_layerwise)
    second.load_state_dict(torch.load(tmp_path / "optimizer.pt", weights_only=True))
    train_wide(resumed, second, range(5, 8))
    assert_same_weights(resumed, whole)


def test_stepping_inside_backward_gives_the_same_weights_in_eight_bits(
    make_on_cpu: Any, assert_same_weights: Any
) -> None:
    layerwise, ordinary = make_wide_model(), make_wide_model()
    train_wide(layerwise, make_on_cpu(layerwise, is_layerwise=True), range(5))
    train_wide(ordinary, make_on_cpu(ordinary), range(5))
    assert_same_weights(layerwise, ordinary)


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("optim", ["galore_adamw_8bit", "galore_adamw_8bit_layerwise"])
def test_training_in_eight_bits_lowers_the_loss_on_a_gpu(optim: str, make_optimizer: Any) -> None:
    model = make_wide_model("cuda")
    optimizer = make_optimizer(
        model,
        optim=optim,
        use_cpu=False,
        optim_target_modules="all-linear",
        optim_args="rank=4, scale=1.0",
        learning_rate=0.002,
    )
    losses = train_wide(model, optimizer, range(100))
    assert sum(losses[-10:]) < 0.5 * sum(losses[:10])

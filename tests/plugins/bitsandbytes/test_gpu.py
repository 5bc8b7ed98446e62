"""What only a GPU can show: paged state, and updates by the library's CUDA kernels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tagger import make_tagger, take_steps
from torch import nn

pytestmark = [
    pytest.mark.slow,
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU"),
]

NAMES = [
    "adamw_8bit",
    "paged_adamw_32bit",
    "paged_adamw_8bit",
    "lion_32bit",
    "lion_8bit",
    "paged_lion_32bit",
    "paged_lion_8bit",
    "ademamix",
    "ademamix_8bit",
    "paged_ademamix_32bit",
    "paged_ademamix_8bit",
    "rmsprop_bnb",
    "rmsprop_bnb_8bit",
]
PAGED = [name for name in NAMES if name.startswith("paged_")]


def make_large() -> nn.Module:
    """A weight above the 100,000 elements from which on bitsandbytes pages."""
    torch.manual_seed(0)
    return nn.Linear(512, 256).to("cuda")


def take_large_steps(model: nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> None:
    for step in steps:
        x = torch.randn(8, 512, generator=torch.Generator().manual_seed(step)).to("cuda")
        model(x).pow(2).mean().backward()
        optimizer.step()
        optimizer.zero_grad()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("optim", NAMES)
def test_training_lowers_the_loss(optim: str, dtype: torch.dtype, make_optimizer: Any) -> None:
    model = make_tagger().to("cuda", dtype)
    optimizer = make_optimizer(model, optim=optim, use_cpu=False, learning_rate=3e-3)
    losses = take_steps(model, optimizer, [0] * 40)
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])


@pytest.mark.parametrize("optim", PAGED)
def test_the_state_of_large_weights_is_paged(optim: str, make_optimizer: Any) -> None:
    model = make_large()
    optimizer = make_optimizer(model, optim=optim, use_cpu=False)
    take_large_steps(model, optimizer, range(1))
    assert optimizer.state[model.weight]["state1"].is_paged
    assert not hasattr(optimizer.state[model.bias]["state1"], "is_paged")


@pytest.mark.parametrize("optim", PAGED)
def test_a_paged_state_is_saved_as_plain_data_and_paged_again_when_loaded(
    optim: str, make_optimizer: Any, tmp_path: Path
) -> None:
    whole, stopped = make_large(), make_large()
    given = {"optim": optim, "use_cpu": False}
    take_large_steps(whole, make_optimizer(whole, **given), range(8))
    first = make_optimizer(stopped, **given)
    take_large_steps(stopped, first, range(5))
    torch.save(first.state_dict(), tmp_path / "optimizer.pt")
    loaded = torch.load(tmp_path / "optimizer.pt", weights_only=True, map_location="cpu")
    assert "is_paged" not in str([vars(t) for t in _tensors(loaded)])
    second = make_optimizer(stopped, **given)
    second.load_state_dict(loaded)
    assert second.state[stopped.weight]["state1"].is_paged
    take_large_steps(stopped, second, range(5, 8))
    assert torch.equal(stopped.weight, whole.weight)


def test_a_paged_optimizer_takes_no_memory_of_the_gpu_for_its_state(make_optimizer: Any) -> None:
    layer = nn.Linear(2048, 2048, bias=False, device="cuda")
    layer(torch.ones(2, 2048, device="cuda")).pow(2).mean().backward()
    optimizer = make_optimizer(layer, optim="paged_adamw_32bit", use_cpu=False)
    before = torch.cuda.memory_allocated()
    optimizer.step()
    assert torch.cuda.memory_allocated() - before < layer.weight.nbytes


def test_the_embedding_has_32_bits(make_optimizer: Any) -> None:
    model = make_tagger().to("cuda")
    optimizer = make_optimizer(model, use_cpu=False)
    take_steps(model, optimizer, range(1))
    assert optimizer.state[model.embedding.weight]["state1"].dtype == torch.float32
    assert optimizer.state[model.hidden.weight]["state1"].dtype == torch.uint8


def _tensors(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [tensor for item in inner for tensor in _tensors(item)]

"""State: what the library computes, as it computes it, and in checkpoints nothing else than data."""

from __future__ import annotations

import io
from typing import Any

import pytest
import torch
from tagger import make_samples, make_tagger, take_steps
from torch import nn

import drivetrain

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("optim", ["adamw_8bit", "lion_32bit", "ademamix_8bit", "rmsprop_bnb_8bit"])
def test_weights_of_16_bits_are_trained_with_state_of_8_and_32(
    optim: str, dtype: torch.dtype, make_optimizer: Any
) -> None:
    model = make_tagger().to(dtype)
    optimizer = make_optimizer(model, optim=optim, learning_rate=3e-3)
    losses = take_steps(model, optimizer, [0] * 40)
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])
    assert {parameter.dtype for parameter in model.parameters()} == {dtype}
    assert {entry["state1"].dtype for entry in optimizer.state.values()} <= {torch.uint8, torch.float32}


@pytest.mark.parametrize("optim", ["lion_32bit", "lion_8bit"])
def test_lion_trains_with_scaled_losses(optim: str, make_args: Any) -> None:
    args = make_args(optim=optim, fp16=True, max_steps=40, save_strategy="no", disable_tqdm=True)
    trainer = drivetrain.Trainer(make_tagger(), args, train_dataset=make_samples())
    before = trainer.evaluate(make_samples())["eval_loss"]
    trainer.train()
    assert trainer.evaluate(make_samples())["eval_loss"] < 0.8 * before


@pytest.mark.parametrize("optim", ["paged_ademamix_32bit", "paged_ademamix_8bit"])
def test_a_paged_optimizer_updates_large_weights_without_a_gpu(optim: str, make_optimizer: Any) -> None:
    """The library's own asks for memory of a GPU from 100,000 elements on."""
    layer = nn.Linear(400, 300)
    optimizer = make_optimizer(layer, optim=optim)
    before = layer.weight.clone()
    layer(torch.ones(2, 400)).pow(2).mean().backward()
    optimizer.step()
    assert not torch.equal(layer.weight, before)


def test_no_update_on_the_cpu_is_compiled(make_optimizer: Any) -> None:
    from torch._dynamo.utils import counters

    counters.clear()
    for optim in (
        "adamw_8bit",
        "lion_8bit",
        "ademamix_8bit",
        "rmsprop_bnb_8bit",
        "ademamix",
        "lion_32bit",
    ):
        model = make_tagger()
        take_steps(model, make_optimizer(model, optim=optim), range(1))
    assert not counters["frames"]


def test_a_tensor_that_is_marked_as_paged_is_saved_without_the_mark(make_optimizer: Any) -> None:
    """The mark would travel with the tensor, and the library prefetch memory that is no page."""
    from drivetrain_bitsandbytes.state import AdamW

    layer = nn.Linear(100, 100)
    optimizer = AdamW(layer.parameters(), optim_bits=8, is_paged=True)
    optimizer.state[layer.weight] = {"step": 1, "state1": torch.zeros(100, 100, dtype=torch.uint8)}
    optimizer.state[layer.weight]["state1"].is_paged = True  # as the library makes it on a GPU
    buffer = io.BytesIO()
    torch.save(optimizer.state_dict(), buffer)
    buffer.seek(0)
    saved = torch.load(buffer, weights_only=True)
    (quantized,) = (v for v in saved["state"][0].values() if isinstance(v, dict))
    assert not hasattr(quantized["state1"], "is_paged")
    assert optimizer.state[layer.weight]["state1"].is_paged

"""What is computed: that of galore-torch, and no more state than the projection needs."""

from __future__ import annotations

import io
from typing import Any

import pytest
import torch
from torch import nn

pytestmark = pytest.mark.slow

PROJECTIONS = ["std", "reverse_std", "right", "left", "full"]


def make_library_optimizer(model: nn.Module, optim: str, **projection: Any) -> torch.optim.Optimizer:
    """What a user of galore-torch writes by hand, with the groups of the fixture `make_optimizer`."""
    import galore_torch

    weights = {name: p for name, p in model.named_parameters() if name.endswith("weight")}
    projected = [p for name, p in weights.items() if "mlp" in name]
    others = [p for name, p in model.named_parameters() if "norm" in name or name.endswith("bias")]
    groups = [
        {"params": [weights["head.weight"]], "weight_decay": 0.1},
        {"params": projected, "weight_decay": 0.1, **projection},
        {"params": others, "weight_decay": 0.0},
    ]
    if optim == "galore_adafactor":
        cls, arguments = galore_torch.GaLoreAdafactor, {"relative_step": False, "scale_parameter": False}
    else:
        cls, arguments = galore_torch.GaLoreAdamW, {"eps": 1e-8, "no_deprecation_warning": True}
    made: torch.optim.Optimizer = cls(groups, lr=0.01, **arguments)
    return made


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("proj_type", PROJECTIONS)
@pytest.mark.parametrize("optim", ["galore_adamw", "galore_adafactor"])
def test_weights_equal_those_of_galore_torch_called_by_hand(
    optim: str,
    proj_type: str,
    dtype: torch.dtype,
    make_model: Any,
    make_optimizer: Any,
    train: Any,
    assert_same_weights: Any,
) -> None:
    projection = {"rank": 4, "update_proj_gap": 3, "scale": 0.25, "proj_type": proj_type}
    ours, theirs = make_model(dtype), make_model(dtype)
    train(ours, make_optimizer(ours, optim=optim, weight_decay=0.1, optim_args=projection), range(8))
    train(theirs, make_library_optimizer(theirs, optim, **projection), range(8))
    assert_same_weights(ours, theirs)


@pytest.mark.parametrize(
    ("proj_type", "module"),
    [
        ("std", "up"),
        ("std", "square"),
        ("std", "down"),
        ("right", "up"),
        ("left", "down"),
        ("full", "square"),
    ],
)
def test_at_full_rank_and_with_a_linear_adam_the_projection_changes_nothing(
    proj_type: str, module: str, make_model: Any, make_optimizer: Any, train: Any
) -> None:
    # Adam depends on the basis, but with an eps far above the gradients it is linear in them: then
    # projecting onto all singular vectors and back must give the update without projection, as long
    # as the vectors are the same ones: GaLore keeps its moments when they change.
    start, projected, plain = make_model(), make_model(), make_model()
    common = {
        "adam_epsilon": 1e4,
        "learning_rate": 1e4,
        "optim_args": {"rank": 24, "scale": 1.0, "proj_type": proj_type},
    }
    targets = [f"mlp.{module}", "head"]
    train(projected, make_optimizer(projected, optim_target_modules=targets, **common), range(8))
    train(plain, make_optimizer(plain, optim_target_modules=["head"], **common), range(8))
    for model in (start, projected, plain):
        model.requires_grad_(False)
    assert (getattr(plain.mlp, module).weight - getattr(start.mlp, module).weight).abs().max() > 0.01
    for a, b in zip(projected.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def count_bytes(state: dict[str, Any]) -> int:
    """Memory that a parameter's state holds on to: views count with all that they are views of."""
    storages = {}
    for value in state.values():
        if hasattr(value, "ortho_matrix"):
            value = value.ortho_matrix
        for tensor in value if isinstance(value, list) else [value]:
            if isinstance(tensor, torch.Tensor):
                storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
    return sum(storages.values())


def test_the_state_of_a_projected_weight_is_a_fortieth_of_that_of_adamw(make_optimizer: Any) -> None:
    model = nn.Sequential(nn.Linear(512, 512, bias=False))
    weight = model[0].weight
    optimizer = make_optimizer(model, optim_args="rank=8", optim_target_modules="all-linear")
    plain = torch.optim.AdamW(model.parameters())
    model(torch.randn(64, 512)).pow(2).mean().backward()
    plain.step()
    optimizer.step()
    # Two moments of 512 x 8, and the projection of 8 x 512, in float32: 48 KiB for 2 MiB.
    assert count_bytes(optimizer.state[weight]) == 3 * 512 * 8 * 4
    assert count_bytes(plain.state[weight]) / count_bytes(optimizer.state[weight]) > 42
    written = io.BytesIO()
    torch.save(optimizer.state_dict(), written)
    assert len(written.getvalue()) < 3 * 512 * 8 * 4 + 4096

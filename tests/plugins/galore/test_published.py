"""Where layer-wise training differs from the published trainer's: in the schedule, and in nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from both_trainers import Scenario, SmallNet, make_small_net, run

import drivetrain

pytestmark = pytest.mark.slow


def make_model() -> SmallNet:
    """One without dropout: the published layer-wise optimizer takes a random number from it."""
    model = make_small_net()
    model.dropout.p = 0.0
    return model


@pytest.fixture
def train_with(tmp_path: Path) -> Any:
    """A function that trains with one of the two libraries and returns the weights."""

    def train(library: Any, schedule: str) -> dict[str, torch.Tensor]:
        options = {"rank": 4, "update_proj_gap": 4, "scale": 1.0}
        if library is drivetrain:
            options["eps"] = 1e-6  # which the published trainer leaves as galore-torch has it
        arguments = {
            "optim": "galore_adamw_layerwise",
            "optim_target_modules": ["inner"],
            "optim_args": ", ".join(f"{name}={value}" for name, value in options.items()),
            "lr_scheduler_type": schedule,
            "max_grad_norm": 0.0,
        }
        folder = tmp_path / f"{library.__name__}-{schedule}"
        return run(library, Scenario(arguments, make_model), folder).weights

    return train


@pytest.mark.parity
@pytest.mark.filterwarnings("ignore")  # what the published trainer imports, and galore-torch
def test_a_constant_schedule_gives_what_every_schedule_gives_there(train_with: Any) -> None:
    there = train_with(transformers, "linear")
    constant, linear = train_with(drivetrain, "constant"), train_with(drivetrain, "linear")
    for name, weight in there.items():
        torch.testing.assert_close(constant[name], weight, msg=lambda said, name=name: f"{name}: {said}")
        assert not torch.allclose(linear[name], weight, rtol=1e-3, atol=1e-4), name

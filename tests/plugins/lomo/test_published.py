"""A run of `lomo` is what it is in the published trainer, which calls `fused_backward` itself."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import transformers
from both_trainers import Scenario, run

import drivetrain

pytestmark = pytest.mark.slow


def test_a_run_gives_the_published_losses_and_weights_to_the_last_bit(tmp_path: Path) -> None:
    arguments = {
        "optim": "lomo",
        "learning_rate": 0.1,
        "max_grad_norm": 0.0,
        "lr_scheduler_type": "cosine",
    }
    theirs = run(transformers, Scenario(arguments=arguments), tmp_path / "theirs")
    ours = run(drivetrain, Scenario(arguments=arguments), tmp_path / "ours")
    for entry in theirs.logs:
        assert entry.pop("grad_norm", 0.0) == 0.0  # it looks for gradients where there are none any more
    assert ours.logs == theirs.logs
    assert ours.events == theirs.events
    for name, weight in theirs.weights.items():
        assert torch.equal(ours.weights[name], weight), name

"""With NVIDIA Apex itself, on a GPU."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from small import make_net, make_trainer
from torch import Tensor

from drivetrain import Trainer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"),
    pytest.mark.skipif(find_spec("amp_C") is None, reason="no NVIDIA Apex that was built with CUDA"),
]

needs_amp = pytest.mark.skipif(
    find_spec("apex") is None or find_spec("apex.amp") is None, reason="this NVIDIA Apex has no amp"
)


def train(folder: Path, **values: Any) -> tuple[Trainer, Tensor]:
    trainer = make_trainer(
        output_dir=folder, model=make_net(dropout=0.0), use_cpu=False, num_train_epochs=4, **values
    )
    trainer.train()
    weights = [p.detach().float().flatten() for p in trainer.model.parameters()]
    return trainer, torch.cat(weights)


def test_the_fused_optimizer_gives_the_weights_of_torchs(tmp_path: Path) -> None:
    _, ours = train(tmp_path, optim="adamw_apex_fused", weight_decay=0.1)
    _, theirs = train(tmp_path, optim="adamw_torch", weight_decay=0.1)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@needs_amp
@pytest.mark.parametrize("level", ["O0", "O1", "O2", "O3"])
def test_every_level_learns(tmp_path: Path, level: str) -> None:
    trainer, weights = train(
        tmp_path, fp16=True, half_precision_backend="apex", fp16_opt_level=level, learning_rate=3e-3
    )
    losses = [logs["loss"] for logs in trainer.state.log_history if "loss" in logs]
    assert sum(losses[-6:]) < 0.9 * sum(losses[:6])
    assert weights.isfinite().all()


@needs_amp
@pytest.mark.parametrize("level", ["O1", "O2"])
def test_a_run_resumes_to_the_last_bit(tmp_path: Path, level: str) -> None:
    values = {"precision": "apex", "fp16_opt_level": level, "save_strategy": "steps", "save_steps": 10}
    _, whole = train(tmp_path / "whole", **values)
    resumed = make_trainer(
        output_dir=tmp_path / "resumed",
        model=make_net(seed=3, dropout=0.0),
        use_cpu=False,
        num_train_epochs=4,
        **values,
    )
    resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-10"))
    assert torch.equal(
        whole, torch.cat([p.detach().float().flatten() for p in resumed.model.parameters()])
    )

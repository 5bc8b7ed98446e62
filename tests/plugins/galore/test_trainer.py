"""Whole runs: the trainer makes the optimizer, saves it, resumes it and ends it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import drivetrain

NAMES = ["galore_adamw", "galore_adafactor", "galore_adamw_layerwise", "galore_adafactor_layerwise"]


class Regression(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.mlp = nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16))

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        prediction = self.mlp(x)
        return {"loss": nn.functional.mse_loss(prediction, labels), "prediction": prediction}


@pytest.fixture
def make_trainer(make_args: Any) -> Any:
    xs = torch.randn(64, 16, generator=torch.Generator().manual_seed(0))
    data = [{"x": x, "labels": x.sin()} for x in xs]

    def make(folder: Path, model: nn.Module | None = None, **given: Any) -> drivetrain.Trainer:
        args = make_args(
            **{"output_dir": str(folder), "disable_tqdm": True, "weight_decay": 0.1, **given}
        )
        return drivetrain.Trainer(model=model or Regression(), args=args, train_dataset=data)

    return make


@pytest.mark.parametrize("optim", NAMES)
def test_a_run_that_resumes_from_a_checkpoint_equals_one_that_did_not_stop(
    optim: str, make_trainer: Any, assert_same_weights: Any, tmp_path: Path
) -> None:
    given = {"optim": optim, "max_steps": 12, "save_steps": 7, "optim_args": "rank=4, update_proj_gap=5"}
    whole = make_trainer(tmp_path / "run", **given)
    whole.train()
    resumed = make_trainer(tmp_path / "again", **given)
    resumed.train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-7"))
    assert resumed.state.global_step == 12
    assert_same_weights(resumed.model, whole.model)


@pytest.mark.parametrize("optim", NAMES)
def test_a_run_lowers_the_loss(optim: str, make_trainer: Any, tmp_path: Path) -> None:
    given = {"max_steps": 120, "logging_steps": 20, "save_strategy": "no"}
    options = "rank=8, update_proj_gap=20, scale=1.0"
    trainer = make_trainer(tmp_path, optim=optim, optim_args=options, **given)
    trainer.train()
    losses = [log["loss"] for log in trainer.state.log_history if "loss" in log]
    assert losses[-1] < 0.5 * losses[0]


def test_a_run_that_steps_inside_backward_ends_with_the_same_weights(
    make_trainer: Any, assert_same_weights: Any, tmp_path: Path
) -> None:
    given = {"max_steps": 10, "save_strategy": "no", "warmup_steps": 3, "lr_scheduler_type": "cosine"}
    ordinary = make_trainer(tmp_path / "ordinary", **given)
    layerwise = make_trainer(tmp_path / "layerwise", optim="galore_adamw_layerwise", **given)
    ordinary.train()
    layerwise.train()
    assert_same_weights(layerwise.model, ordinary.model)


def test_a_second_call_of_train_goes_on_inside_backward(
    make_trainer: Any, assert_same_weights: Any, tmp_path: Path
) -> None:
    given = {"max_steps": 5, "save_strategy": "no"}
    ordinary = make_trainer(tmp_path / "ordinary", **given)
    layerwise = make_trainer(tmp_path / "layerwise", optim="galore_adamw_layerwise", **given)
    for trainer in (ordinary, layerwise, ordinary, layerwise):
        trainer.train()
    assert_same_weights(layerwise.model, ordinary.model)


def test_another_optimizer_trains_the_model_as_if_there_had_been_no_layerwise_run(
    make_trainer: Any, assert_same_weights: Any, tmp_path: Path
) -> None:
    layerwise = make_trainer(tmp_path / "layerwise", optim="galore_adamw_layerwise", max_steps=2)
    layerwise.train()
    untouched = Regression()
    untouched.load_state_dict(layerwise.model.state_dict())
    given = {"optim": "adamw_torch", "max_steps": 3, "save_strategy": "no"}
    given |= {"optim_args": None, "optim_target_modules": None}
    after = make_trainer(tmp_path / "after", model=layerwise.model, **given)
    expected = make_trainer(tmp_path / "expected", model=untouched, **given)
    after.train()
    expected.train()
    assert_same_weights(after.model, expected.model)

"""Which checkpoints a run may delete, which one is its best, and what callbacks see when one is written."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from small import are_equal, make_net, make_trainer, weights_of

from drivetrain import Trainer, TrainerCallback

EVERY_STEP: dict[str, Any] = {"save_strategy": "steps", "save_steps": 1}
FIRST_IS_BEST: dict[str, Any] = {
    **EVERY_STEP,
    "eval_strategy": "steps",
    "eval_steps": 1,
    "max_steps": 4,
    "load_best_model_at_end": True,
    "metric_for_best_model": "eval_loss",
    "greater_is_better": True,  # the loss falls
}


class NoRoomAtFirst(Trainer):
    def _save(self, output_dir: Any = None, state_dict: Any = None) -> None:
        if self.state.global_step == 1 and self.training_loop is not None:
            raise OSError(28, "No space left on device")
        super()._save(output_dir, state_dict)


class OutOfMemoryOnce(Trainer):
    failing_call = 4
    num_calls = 0

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        self.num_calls += 1
        if self.num_calls == self.failing_call:
            raise torch.OutOfMemoryError("out of memory")
        return super().training_step(*args, **kwargs)


class StopAt(TrainerCallback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        control.should_training_stop = state.global_step == self.step


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_checkpoint_that_a_run_resumes_from_stays_until_a_batch_size_fits(tmp_path: Path) -> None:
    settings = {"output_dir": tmp_path, **EVERY_STEP, "save_total_limit": 1, "max_steps": 8}
    make_trainer(callbacks=[StopAt(3)], **settings).train()
    trainer = make_trainer(OutOfMemoryOnce, auto_find_batch_size=True, **settings)
    trainer.train(resume_from_checkpoint=True)
    assert trainer.num_calls > trainer.failing_call
    assert trainer.state.global_step == 8
    assert names(tmp_path) == ["checkpoint-8"]


def test_what_an_attempt_saved_goes_with_it_under_names_that_were_there_before_too(
    tmp_path: Path,
) -> None:
    make_trainer(output_dir=tmp_path, **EVERY_STEP, max_steps=3).train()
    trainer = make_trainer(
        OutOfMemoryOnce, output_dir=tmp_path, **EVERY_STEP, max_steps=3, auto_find_batch_size=True
    )
    trainer.failing_call = 3
    seen: list[list[str]] = []

    class Look(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            seen.append(names(tmp_path))

    trainer.add_callback(Look())
    trainer.train()
    assert seen == [["checkpoint-1", "checkpoint-2", "checkpoint-3"], ["checkpoint-3"]]


def test_a_best_model_that_could_not_be_saved_is_not_taken_from_another_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_trainer(model=make_net(seed=77), output_dir=tmp_path, **EVERY_STEP, max_steps=4).train()
    foreign = load_file(tmp_path / "checkpoint-1" / "model.safetensors")
    trainer = make_trainer(NoRoomAtFirst, output_dir=tmp_path, save_on_error="continue", **FIRST_IS_BEST)
    with caplog.at_level(logging.WARNING):
        trainer.train()
    assert (trainer.state.best_global_step, trainer.state.best_model_checkpoint) == (1, None)
    assert not are_equal(weights_of(trainer), foreign)
    assert are_equal(weights_of(trainer), load_file(tmp_path / "checkpoint-4" / "model.safetensors"))
    assert "`load_best_model_at_end`: the checkpoint of the best update, 1, was not saved" in caplog.text
    assert "keeps the last weights" in caplog.text


def test_with_save_best_only_the_folder_of_another_run_is_not_noted(tmp_path: Path) -> None:
    make_trainer(model=make_net(seed=77), output_dir=tmp_path, **EVERY_STEP, max_steps=2).train()
    given = {**FIRST_IS_BEST, "load_best_model_at_end": False, "save_steps": 3}
    trainer = make_trainer(output_dir=tmp_path, **given)
    trainer.train()
    assert (trainer.state.best_global_step, trainer.state.best_model_checkpoint) == (1, None)


def test_a_link_to_a_checkpoint_is_deleted_and_what_it_leads_to_stays(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "run", tmp_path / "kept"
    settings = {"output_dir": folder, **EVERY_STEP, "save_total_limit": 1}
    make_trainer(callbacks=[StopAt(2)], **settings, max_steps=6).train()
    (folder / "checkpoint-2").rename(elsewhere)
    (folder / "checkpoint-2").symlink_to(elsewhere)
    trainer = make_trainer(**settings, max_steps=6)
    trainer.train(resume_from_checkpoint=True)
    assert names(folder) == ["checkpoint-6"]
    assert (elsewhere / "model.safetensors").is_file()


@pytest.mark.parametrize("async_save", [False, True])
def test_callbacks_see_the_weights_to_use_when_a_checkpoint_is_written(
    tmp_path: Path, async_save: bool
) -> None:
    differences = []

    class Look(TrainerCallback):
        def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            differences.append(kwargs["optimizer"].param_groups[0]["train_mode"])

    make_trainer(
        output_dir=tmp_path,
        **EVERY_STEP,
        max_steps=3,
        optim="schedule_free_adamw",
        lr_scheduler_type="constant",
        async_save=async_save,
        callbacks=[Look()],
    ).train()
    assert differences == [False, False, False]


@pytest.mark.parametrize("optim", ["adamw_torch", "schedule_free_adamw"])
def test_an_optimizer_whose_state_is_missing_begins_afresh_in_a_trainer_that_has_trained(
    tmp_path: Path, optim: str
) -> None:
    settings = {"output_dir": tmp_path, "save_strategy": "steps", "save_steps": 3, "max_steps": 6}
    chosen = {"optim": optim, "lr_scheduler_type": "constant", "allow_partial_resume": True}
    trainer = make_trainer(**settings, **chosen)
    trainer.train()
    (tmp_path / "checkpoint-3" / "optimizer.pt").unlink()
    trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
    fresh = make_trainer(**settings, **chosen)
    fresh.train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
    assert are_equal(weights_of(trainer), weights_of(fresh))


def test_an_optimizer_that_cannot_put_its_weights_back_hides_no_other_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Stuck(torch.optim.SGD):
        def train(self) -> None: ...

        def eval(self) -> None:
            raise RuntimeError("stuck")

    class Interrupt(TrainerCallback):
        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            raise KeyboardInterrupt

    net = make_net()
    trainer = make_trainer(
        model=net,
        output_dir=tmp_path,
        max_steps=3,
        optimizers=(Stuck(net.parameters(), lr=0.1), None),
        callbacks=[Interrupt()],
    )
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    assert "The weights to use could not be put into the model." in caplog.text

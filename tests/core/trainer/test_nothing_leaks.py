"""What one call of a trainer leaves behind does not change the next, nor what is called within it."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from small import Net, are_equal, make_net, make_samples, make_trainer, weights_of
from torch import nn

from drivetrain import EarlyStoppingCallback, TrainerCallback, TrainerControl, UsageError
from drivetrain.search import default_compute_objective


def test_counts_are_no_objective_of_a_search() -> None:
    metrics = {"eval_loss": 0.5, "num_input_tokens_seen": 240, "epoch": 1.0, "eval_non_finite_losses": 1}
    assert default_compute_objective(metrics) == 0.5


class Interrupt(TrainerCallback):
    """Ends the first training as Ctrl-C does, before anything is saved."""

    is_on = True

    def on_step_end(self, args: Any, state: Any, control: TrainerControl, **kwargs: Any) -> None:
        if self.is_on:
            self.is_on = False
            raise KeyboardInterrupt


def test_an_interrupted_run_that_was_to_overwrite_does_not_when_another_is_resumed(
    tmp_path: Path,
) -> None:
    options: dict[str, Any] = {"output_dir": tmp_path, "save_strategy": "steps", "save_steps": 2}
    make_trainer(**options, max_steps=4).train()
    trainer = make_trainer(**options, overwrite_output_dir=True, callbacks=[Interrupt()])
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    trainer.train(resume_from_checkpoint=True)
    assert {"checkpoint-2", "checkpoint-4", "checkpoint-6"} <= {path.name for path in tmp_path.iterdir()}


def test_the_arguments_of_a_trial_hold_for_it_and_for_nothing_after_it() -> None:
    trainer, plain = make_trainer(max_steps=2), make_trainer(max_steps=2)
    trainer.train(trial={"learning_rate": 0.5, "optim": "sgd", "label_smoothing_factor": 0.5})
    trainer.model.load_state_dict(make_net().state_dict())
    torch.manual_seed(0)
    trainer.train()
    torch.manual_seed(0)
    plain.train()
    assert are_equal(weights_of(trainer), weights_of(plain))
    assert trainer.label_smoother is None


def test_a_trial_smooths_labels() -> None:
    losses = [
        make_trainer(max_steps=1).train(trial={"label_smoothing_factor": factor}).training_loss
        for factor in (0.0, 0.5)
    ]
    assert losses[0] != losses[1]


def test_a_trial_cannot_change_an_optimizer_that_was_given() -> None:
    model = make_net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    trainer = make_trainer(model=model, optimizers=(optimizer, None))
    with pytest.raises(UsageError, match="`trial`: 'learning_rate' has no effect on the optimizer"):
        trainer.train(trial={"learning_rate": 0.5})


class Hungry(Net):
    """Runs out of memory above a number of samples, in training or in evaluation."""

    most, when = 2, "training"

    def forward(self, x: torch.Tensor, labels: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        if len(x) > self.most and self.training == (self.when == "training"):
            raise torch.OutOfMemoryError("out of memory, as if")
        return super().forward(x, labels)


def make_hungry(**attributes: Any) -> Hungry:
    torch.manual_seed(7)
    model = Hungry()
    for name, value in attributes.items():
        setattr(model, name, value)
    return model


def test_an_attempt_with_a_smaller_batch_starts_from_the_optimizer_that_the_run_began_with(
    tmp_path: Path,
) -> None:
    def train_twice(most: int, **arguments: Any) -> dict[str, torch.Tensor]:
        model = make_hungry(most=100)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=2)
        trainer = make_trainer(
            model=model, optimizers=(optimizer, schedule), max_steps=3, output_dir=tmp_path, **arguments
        )
        trainer.train()
        model.most = most
        torch.manual_seed(3)
        trainer.train()
        return weights_of(trainer)

    found = train_twice(2, auto_find_batch_size=True, save_strategy="steps", save_steps=2)
    # The first training is the same; the second has the batch that was found.
    model = make_hungry(most=100)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=2)
    trainer = make_trainer(model=model, optimizers=(optimizer, schedule), max_steps=3)
    trainer.train()
    trainer.args.per_device_train_batch_size = 2
    torch.manual_seed(3)
    trainer.train()
    assert are_equal(found, weights_of(trainer))


def test_memory_that_runs_out_in_an_evaluation_is_not_blamed_on_training() -> None:
    model = make_hungry(when="evaluation")
    trainer = make_trainer(
        model=model, auto_find_batch_size=True, eval_strategy="steps", eval_steps=1, max_steps=2
    )
    with pytest.raises(UsageError, match="`per_device_eval_batch_size`: an evaluation does not fit"):
        trainer.train()


class EvaluatesWithin(TrainerCallback):
    """Evaluates while an evaluation is under way, once."""

    trainer: Any = None
    is_done = False

    def on_prediction_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if not self.is_done:
            self.is_done = True
            self.trainer.evaluate()


def test_an_evaluation_within_another_leaves_the_weights_as_they_were() -> None:
    callback = EvaluatesWithin()
    trainer = make_trainer(bf16_full_eval=True, callbacks=[callback])
    callback.trainer = trainer
    before = weights_of(trainer)
    trainer.evaluate()
    assert are_equal(before, weights_of(trainer))
    assert all(weight.dtype == torch.float32 for weight in trainer.model.parameters())


class OddlyLabelled(nn.Module):
    """Its labels are called otherwise."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(7)
        self.outer = nn.Linear(6, 3)

    def forward(self, x: torch.Tensor, label_ids: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        logits = self.outer(x)
        if label_ids is None:
            return {"logits": logits}
        return {"loss": nn.functional.cross_entropy(logits, label_ids), "logits": logits}


def test_labels_of_another_name_are_smoothed_too() -> None:
    samples = [{"x": sample["x"], "label_ids": sample["labels"]} for sample in make_samples()]

    def collate(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        return {
            "x": torch.stack([row["x"] for row in rows]),
            "label_ids": torch.tensor([row["label_ids"] for row in rows]),
        }

    losses = [
        make_trainer(
            model=OddlyLabelled(),
            train_dataset=samples,
            eval_dataset=samples,
            data_collator=collate,
            label_smoothing_factor=factor,
        ).evaluate()["eval_loss"]
        for factor in (0.0, 0.5)
    ]
    assert losses[0] != losses[1]


class NotANumberFor(Net):
    """The loss of its first evaluation batch is no number."""

    def forward(self, x: torch.Tensor, labels: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        outputs = super().forward(x, labels)
        if not self.training and torch.equal(x[0], make_samples()[0]["x"]):
            outputs["loss"] = outputs["loss"] * float("nan")
        return outputs


def test_an_evaluation_with_losses_that_are_not_finite_counts_them_and_is_not_the_best(
    caplog: pytest.LogCaptureFixture,
) -> None:
    trainer = make_trainer(
        model=NotANumberFor(),
        eval_strategy="epoch",
        metric_for_best_model="loss",
        per_device_eval_batch_size=5,
    )
    with caplog.at_level(logging.WARNING):
        trainer.train()
    evaluation = next(entry for entry in trainer.state.log_history if "eval_loss" in entry)
    assert evaluation["eval_non_finite_losses"] == 5
    assert trainer.state.best_metric is None


class Patient(EarlyStoppingCallback):
    """A callback of one's own that does the same."""


def test_a_callback_derived_from_early_stopping_is_not_doubled() -> None:
    trainer = make_trainer(
        callbacks=[Patient(2)],
        eval_strategy="epoch",
        early_stopping_patience=2,
        metric_for_best_model="loss",
    )
    kinds = [type(callback).__name__ for callback in trainer.callback_handler.callbacks]
    assert kinds.count("Patient") == 1
    assert "EarlyStoppingCallback" not in kinds


def test_all_results_keep_what_was_there(tmp_path: Path) -> None:
    trainer = make_trainer(output_dir=tmp_path)
    trainer.save_metrics("train", {"train_loss": 1.0})
    trainer.save_metrics("all", {"eval_loss": 2.0})
    saved = (tmp_path / "all_results.json").read_text()
    assert "train_loss" in saved
    assert "eval_loss" in saved


def test_a_step_by_hand_after_a_training_has_no_share_of_an_update_that_is_over() -> None:
    trainer = make_trainer(
        model=make_net(dropout=0.0), per_device_train_batch_size=5, gradient_accumulation_steps=3
    )
    trainer.train()  # its last update is of a batch of 5 and one of 4
    batch = trainer.data_collator(make_samples(4))
    trainer.model.zero_grad()
    trainer.model(**batch)["loss"].backward()
    expected = weights_of_gradients(trainer.model)
    trainer.model.zero_grad()
    trainer.training_step(trainer.model, dict(batch))
    for whole, share in zip(expected, weights_of_gradients(trainer.model), strict=True):
        torch.testing.assert_close(share * 3, whole)


def weights_of_gradients(model: nn.Module) -> list[torch.Tensor]:
    return [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]


class Tagger(nn.Module):
    """A label for each token."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.embedding = nn.Embedding(20, 8)
        self.outer = nn.Linear(8, 5)

    def forward(self, input_ids: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        logits = self.outer(self.embedding(input_ids))
        return {"loss": nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten())}


def test_a_model_that_was_compiled_for_an_earlier_trainer_gets_the_noise_of_this_one() -> None:
    ids = torch.arange(80).view(8, 10) % 20
    samples = [{"input_ids": row, "labels": row % 5} for row in ids]

    def loss_of_second_training(**arguments: Any) -> float:
        torch.compiler.reset()
        model = Tagger()
        for options in ({}, arguments):
            trainer = make_trainer(
                model=model,
                train_dataset=samples,
                eval_dataset=None,
                torch_compile_backend="eager",
                learning_rate=0.0,
                max_steps=2,
                **options,
            )
            loss = trainer.train().training_loss
        return loss

    assert loss_of_second_training() != loss_of_second_training(neftune_noise_alpha=20.0)


@pytest.mark.slow
def test_the_accelerator_stands_beside_one_of_the_users_own(tmp_path: Path) -> None:
    script = """
from accelerate import Accelerator
from small import make_trainer
own = Accelerator(cpu=True, mixed_precision="bf16")
trainer = make_trainer(bf16=True, gradient_accumulation_steps=4)
assert trainer.accelerator.mixed_precision == "bf16"
assert trainer.accelerator.gradient_accumulation_steps == 4
assert Accelerator(cpu=True, mixed_precision="bf16").unwrap_model(trainer.model) is trainer.model
"""
    support = str(Path(__file__).resolve().parents[2] / "support")
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": support},
        check=False,
    )
    assert done.returncode == 0, done.stderr

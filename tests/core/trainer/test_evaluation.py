"""`Trainer.evaluate` and `Trainer.predict` as a user sees them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from small import Net, make_net, make_samples, make_trainer
from torch import nn

from drivetrain import EvalPrediction, Trainer


def accuracy(prediction: EvalPrediction) -> dict[str, Any]:
    logits, labels = prediction
    return {"accuracy": (logits.argmax(-1) == labels).mean()}


def test_the_loss_is_the_mean_over_samples_however_they_are_batched() -> None:
    samples = make_samples(10)
    model = make_net().eval()
    with torch.no_grad():
        outputs = model(
            torch.stack([s["x"] for s in samples]), torch.tensor([s["labels"] for s in samples])
        )
    for size in (1, 3, 4, 10, 64):
        trainer = make_trainer(model=model, eval_dataset=samples, per_device_eval_batch_size=size)
        assert trainer.evaluate()["eval_loss"] == pytest.approx(outputs["loss"].item(), rel=1e-5)


def test_metrics_are_computed_prefixed_logged_and_json() -> None:
    trainer = make_trainer(compute_metrics=accuracy)
    metrics = trainer.evaluate()
    assert 0 <= metrics["eval_accuracy"] <= 1
    assert type(metrics["eval_accuracy"]) is float
    assert {
        "eval_loss",
        "eval_runtime",
        "eval_samples_per_second",
        "eval_steps_per_second",
    } < metrics.keys()
    assert trainer.state.log_history[-1]["eval_accuracy"] == metrics["eval_accuracy"]
    assert "holdout_loss" in trainer.evaluate(metric_key_prefix="holdout")


def test_each_of_a_dict_of_data_sets_is_evaluated_under_its_name() -> None:
    samples = make_samples()
    trainer = make_trainer(eval_dataset={"first": samples[:4], "second": samples[4:]})
    metrics = trainer.evaluate()
    assert {"eval_first_loss", "eval_second_loss"} < metrics.keys()
    assert trainer.get_eval_dataloader("second").dataset == samples[4:]


def test_predictions_come_in_order_and_whole() -> None:
    samples = make_samples(11)
    trainer = make_trainer(per_device_eval_batch_size=4, compute_metrics=accuracy)
    output = trainer.predict(samples)
    assert output.predictions.shape == (11, 3)
    assert output.label_ids.tolist() == [sample["labels"] for sample in samples]
    assert {"test_loss", "test_accuracy"} < output.metrics.keys()
    trainer.model.eval()
    with torch.no_grad():
        expected = trainer.model(torch.stack([sample["x"] for sample in samples]))["logits"]
    np.testing.assert_allclose(output.predictions, expected.numpy(), rtol=1e-5)


def test_samples_without_labels_are_predicted_without_a_loss() -> None:
    output = make_trainer().predict([{"x": sample["x"]} for sample in make_samples(5)])
    assert output.predictions.shape == (5, 3)
    assert output.label_ids is None
    assert "test_loss" not in output.metrics


def test_only_the_loss_is_computed_if_that_is_asked_for() -> None:
    output = make_trainer(prediction_loss_only=True, compute_metrics=accuracy).predict(make_samples(5))
    assert output.predictions is None
    assert "test_accuracy" not in output.metrics


class Ragged(nn.Module):
    """Returns nested outputs as wide as its batch: forward takes ``ids`` (batch, length)."""

    def forward(self, ids: torch.Tensor, labels: torch.Tensor) -> dict[str, Any]:
        return {
            "loss": ids.float().mean(),
            "logits": ids * 2,
            "hidden": (ids + 1, ids.bfloat16()),
            "attention": {"first": ids},
        }


def test_nested_and_ragged_outputs_are_put_together_padded() -> None:
    samples = [{"ids": torch.arange(n), "labels": torch.arange(n)} for n in (2, 3, 4)]
    trainer = make_trainer(model=Ragged(), per_device_eval_batch_size=1)
    logits, (plus_one, half), attention = trainer.predict(samples).predictions
    assert logits.tolist() == [[0, 2, -100, -100], [0, 2, 4, -100], [0, 2, 4, 6]]
    assert plus_one[2].tolist() == [1, 2, 3, 4]
    assert half.dtype == np.float32
    assert attention["first"].shape == (3, 4)
    ignoring = trainer.predict(samples, ignore_keys=["hidden", "attention"])
    assert ignoring.predictions.shape == (3, 4)


@pytest.mark.parametrize("every", [None, 1, 2, 50])
def test_moving_predictions_to_host_memory_in_between_changes_nothing(every: int | None) -> None:
    trainer = make_trainer(eval_accumulation_steps=every, per_device_eval_batch_size=3)
    assert trainer.predict(make_samples(10)).predictions.shape == (10, 3)


def test_logits_can_be_reduced_before_they_are_kept() -> None:
    trainer = make_trainer(preprocess_logits_for_metrics=lambda logits, labels: logits.argmax(-1))
    assert trainer.predict(make_samples(10)).predictions.shape == (10,)


def test_evaluation_is_without_dropout_and_gradients_and_training_goes_on_with_them() -> None:
    modes: list[tuple[bool, bool]] = []

    class Watched(Net):
        def forward(
            self, x: torch.Tensor, labels: torch.Tensor | None = None
        ) -> dict[str, torch.Tensor]:
            modes.append((self.training, torch.is_grad_enabled()))
            return super().forward(x, labels)

    make_trainer(model=Watched(), eval_strategy="steps", eval_steps=3).train()
    assert modes == [(True, True)] * 3 + [(False, False)] * 2 + [(True, True)] * 3 + [(False, False)] * 2


def test_a_loss_that_is_not_finite_is_left_out_and_said(caplog: pytest.LogCaptureFixture) -> None:
    samples = make_samples(8)
    samples[0]["x"] = torch.full((6,), float("nan"))
    metrics = make_trainer(eval_dataset=samples, per_device_eval_batch_size=4).evaluate()
    assert metrics["eval_loss"] < 10
    assert "not finite" in caplog.text


def test_the_best_model_is_found_kept_and_loaded(tmp_path: Any) -> None:
    class Scripted(Trainer):
        """Evaluations give made-up losses; the second is the best."""

        def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
            metrics = super().evaluate(*args, **kwargs)
            metrics["eval_loss"] = [3.0, 1.0, 2.0][self.state.global_step // 2 - 1]
            return metrics

    trainer = make_trainer(
        Scripted,
        output_dir=tmp_path,
        eval_strategy="steps",
        eval_steps=2,
        save_strategy="best",
        load_best_model_at_end=True,
    )
    trainer.train()
    assert (trainer.state.best_metric, trainer.state.best_global_step) == (1.0, 4)
    assert trainer.state.best_model_checkpoint == str(tmp_path / "checkpoint-4")
    assert sorted(path.name for path in tmp_path.glob("checkpoint-*")) == [
        "checkpoint-2",
        "checkpoint-4",
    ]
    from safetensors.torch import load_file

    best = load_file(tmp_path / "checkpoint-4" / "model.safetensors")
    assert torch.equal(trainer.model.state_dict()["outer.weight"], best["outer.weight"])


def test_the_best_model_is_saved_when_it_appears_whatever_the_intervals(tmp_path: Any) -> None:
    trainer = make_trainer(
        output_dir=tmp_path,
        eval_strategy="steps",
        eval_steps=2,
        save_strategy="steps",
        save_steps=5,
        learning_rate=0.0,  # so that the first evaluation stays the best
        load_best_model_at_end=True,
        save_total_limit=1,
    )
    trainer.train()
    assert trainer.state.best_model_checkpoint == str(tmp_path / "checkpoint-2")
    assert sorted(path.name for path in tmp_path.glob("checkpoint-*")) == [
        "checkpoint-2",
        "checkpoint-6",
    ]


def test_a_metric_that_the_evaluation_does_not_give_is_an_error_that_lists_them() -> None:
    trainer = make_trainer(
        eval_strategy="epoch",
        save_strategy="epoch",
        load_best_model_at_end=True,
        metric_for_best_model="f1",
    )
    with pytest.raises(KeyError, match=r"`metric_for_best_model`: 'f1' is not among .*eval_loss"):
        trainer.train()

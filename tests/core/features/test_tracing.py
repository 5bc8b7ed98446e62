"""`jit_mode_eval`."""

from __future__ import annotations

import logging
import re
from typing import Any

import numpy as np
import pytest
import torch
from small import Net, are_equal, make_args, make_net, make_samples, make_trainer, weights_of

from drivetrain_registry import UsageError


class Counted(Net):
    """Counts how often Python computes it: a trace runs without."""

    count = 0

    def forward(self, x: torch.Tensor, labels: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        self.count += 1
        return super().forward(x, labels)


def make_counted(cls: type[Counted] = Counted) -> Counted:
    torch.manual_seed(7)
    return cls()


def predict_both(make: Any, samples: list[dict[str, Any]], **options: Any) -> tuple[Any, Any, Any]:
    """What is predicted without and with a trace, and the model that was traced."""
    plain = make_trainer(model=make(), per_device_eval_batch_size=4, **options).predict(samples)
    model = make()
    traced = make_trainer(model=model, per_device_eval_batch_size=4, jit_mode_eval=True, **options)
    return plain, traced.predict(samples), model


def test_batches_of_one_shape_run_the_trace_and_give_the_same() -> None:
    plain, traced, model = predict_both(make_counted, make_samples(24))
    np.testing.assert_allclose(traced.predictions, plain.predictions, rtol=1e-6)
    assert traced.metrics["test_loss"] == pytest.approx(plain.metrics["test_loss"], rel=1e-6)
    assert model.count == 2  # the first batch, and the second as it is traced


def test_a_smaller_last_batch_is_right() -> None:
    plain, traced, model = predict_both(make_counted, make_samples(23))
    np.testing.assert_allclose(traced.predictions, plain.predictions, rtol=1e-6)
    assert model.count == 3


def test_sequences_of_different_lengths_are_right() -> None:
    class Averages(Counted):
        """Computes with lengths in Python, which a trace would hold."""

        def forward(self, x: torch.Tensor, labels: torch.Tensor | None = None) -> Any:
            length = x.shape[1]
            weights = torch.ones(length) / (length if length > 2 else 2 * length)
            return super().forward((x * weights[:, None]).sum(1), labels)

    generator = torch.Generator().manual_seed(2)
    lengths = [2, 3, 2, 5, 3, 2, 3, 5, 2]
    samples = [
        {"x": torch.randn(length, 6, generator=generator), "labels": 1}
        for length in lengths
        for _ in range(4)
    ]
    plain, traced, model = predict_both(lambda: make_counted(Averages), samples)
    np.testing.assert_allclose(traced.predictions, plain.predictions, rtol=1e-6)
    assert model.count == 6  # twice for each length


def test_predictions_without_labels_are_right() -> None:
    samples = [{"x": sample["x"]} for sample in make_samples(12)]
    plain, traced, model = predict_both(make_counted, samples)
    np.testing.assert_allclose(traced.predictions, plain.predictions, rtol=1e-6)
    assert model.count == 2


@pytest.mark.parametrize("options", [{"bf16": True}, {"bf16_full_eval": True}])
def test_a_trace_in_16_bits_is_right(options: dict[str, Any]) -> None:
    plain, traced, model = predict_both(make_counted, make_samples(16), **options)
    np.testing.assert_allclose(traced.predictions, plain.predictions, rtol=1e-2, atol=1e-3)
    assert model.count == 2


def test_evaluations_in_training_see_the_weights_of_their_update() -> None:
    options: dict[str, Any] = {
        "eval_strategy": "steps",
        "eval_steps": 2,
        "per_device_eval_batch_size": 2,
    }
    plain = make_trainer(**options)
    plain.train()
    traced = make_trainer(jit_mode_eval=True, **options)
    traced.train()
    assert are_equal(weights_of(plain), weights_of(traced))
    losses = [[e["eval_loss"] for e in t.state.log_history if "eval_loss" in e] for t in (plain, traced)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-6)
    assert len(set(losses[1])) == 3


def test_the_model_has_its_own_forward_back_even_if_the_evaluation_fails() -> None:
    class Fails(Counted):
        def forward(self, x: torch.Tensor, labels: torch.Tensor | None = None) -> Any:
            if self.count == 1:
                raise RuntimeError("enough")
            return super().forward(x, labels)

    trainer = make_trainer(model=make_net(), jit_mode_eval=True)
    trainer.evaluate()
    assert "forward" not in vars(trainer.model)
    trainer = make_trainer(model=make_counted(Fails), jit_mode_eval=True, per_device_eval_batch_size=9)
    with pytest.raises(RuntimeError, match="enough"):
        trainer.evaluate()
    assert "forward" not in vars(trainer.model)


class ReadsValues(Counted):
    """Computes otherwise for some inputs: a trace would not."""

    def forward(self, x: torch.Tensor, labels: torch.Tensor | None = None) -> Any:
        return super().forward(x if x.mean() > 0 else -x, labels)


class ReturnsObjects(Counted):
    def forward(self, x: torch.Tensor, labels: torch.Tensor | None = None) -> Any:
        return {**super().forward(x, labels), "cache": object()}


class CannotBeTraced(Counted):
    def forward(self, x: torch.Tensor, labels: torch.Tensor | None = None) -> Any:
        if torch.jit.is_tracing():
            raise ValueError("not with me")
        return super().forward(x, labels)


@pytest.mark.parametrize(
    ("cls", "reason"),
    [
        (ReadsValues, r"its forward reads values of tensors \(__bool__\)"),
        (CannotBeTraced, "ValueError: not with me"),
    ],
)
def test_what_cannot_be_traced_is_said_once_and_evaluated_as_it_is(
    cls: type[Counted], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    samples = make_samples(16)
    plain = make_trainer(model=make_counted(cls), per_device_eval_batch_size=4).predict(samples)
    trainer = make_trainer(model=make_counted(cls), per_device_eval_batch_size=4, jit_mode_eval=True)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert np.array_equal(trainer.predict(samples).predictions, plain.predictions)
    (message,) = [r.message for r in caplog.records if "jit_mode_eval" in r.message]
    assert "is evaluated as it is" in message
    assert re.search(reason, message)


def test_outputs_that_are_no_tensors_keep_a_model_from_being_traced(
    caplog: pytest.LogCaptureFixture,
) -> None:
    options: dict[str, Any] = {"per_device_eval_batch_size": 4, "prediction_loss_only": True}
    trainer = make_trainer(model=make_counted(ReturnsObjects), jit_mode_eval=True, **options)
    plain = make_trainer(**options).evaluate()["eval_loss"]
    with caplog.at_level(logging.WARNING):
        assert trainer.evaluate()["eval_loss"] == plain
    assert "it returns a object among its outputs" in caplog.text


def test_outputs_nested_in_tuples_and_none_among_them_come_back_in_their_places() -> None:
    class Nested(Counted):
        def forward(self, x: torch.Tensor, labels: torch.Tensor | None = None) -> Any:
            outputs = super().forward(x, labels)
            return outputs["loss"], outputs["logits"], (x + 1, [x + 2, x + 3])

    plain, traced, model = predict_both(lambda: make_counted(Nested), make_samples(16))
    first, second = plain.predictions, traced.predictions
    np.testing.assert_allclose(second[0], first[0], rtol=1e-6)
    np.testing.assert_array_equal(second[1][0], first[1][0])
    np.testing.assert_array_equal(second[1][1][1], first[1][1][1])
    assert model.count == 2


def test_a_compiled_or_a_spread_model_is_refused() -> None:
    with pytest.raises(UsageError, match="`torch_compile`: True contradicts `jit_mode_eval`"):
        make_args(jit_mode_eval=True, torch_compile=True)


@pytest.mark.slow
@pytest.mark.parametrize("has_mask", [False, True])
def test_models_of_transformers_are_traced(has_mask: bool, caplog: pytest.LogCaptureFixture) -> None:
    import both_trainers as both

    samples = both.text_samples(12)
    for index, sample in enumerate(samples if has_mask else []):
        sample["attention_mask"] = (torch.arange(12) < 12 - index % 5).long()
    plain, traced, _ = predict_both(both.make_gpt2, samples)
    np.testing.assert_allclose(traced.predictions, plain.predictions, rtol=1e-5, atol=1e-6)
    assert "jit_mode_eval" not in caplog.text

"""The arguments of evaluation: what is kept of the batches, and what `compute_metrics` sees."""

from __future__ import annotations

import logging
import os
import tracemalloc
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from small import Stream, make_net, make_samples, make_trainer
from torch import nn

import drivetrain
from drivetrain import EarlyStoppingCallback, EvalPrediction, UsageError


class BatchAccuracy:
    """Counts right answers batch by batch, and writes down how it was called."""

    def __init__(self) -> None:
        self.right = self.seen = 0
        self.calls: list[tuple[type[Any], bool]] = []

    def __call__(self, prediction: EvalPrediction, compute_result: bool) -> dict[str, float]:
        self.calls.append((type(prediction.predictions), compute_result))
        logits, labels = prediction.predictions, prediction.label_ids
        self.right += int((logits.argmax(-1) == labels).sum())
        self.seen += len(labels)
        if not compute_result:
            return {}
        result = {"accuracy": self.right / self.seen}
        self.right = self.seen = 0
        return result


def accuracy(prediction: EvalPrediction) -> dict[str, Any]:
    return {"accuracy": (prediction.predictions.argmax(-1) == prediction.label_ids).mean()}


class Keep:
    """A metric function that keeps what it was given."""

    given: EvalPrediction

    def __call__(self, prediction: EvalPrediction) -> dict[str, float]:
        self.given = prediction
        return {}


# -- metrics batch by batch ------------------------------------------------------------------------


@pytest.mark.parametrize("is_stream", [False, True])
def test_metrics_by_batch_are_those_of_the_whole_set(is_stream: bool) -> None:
    samples = make_samples(10)
    data = Stream(samples) if is_stream else samples
    metric = BatchAccuracy()
    trainer = make_trainer(
        eval_dataset=data,
        compute_metrics=metric,
        batch_eval_metrics=True,
        per_device_eval_batch_size=4,
    )
    by_batch = trainer.evaluate()
    assert metric.calls == [(torch.Tensor, False), (torch.Tensor, False), (torch.Tensor, True)]
    whole = make_trainer(
        eval_dataset=samples, compute_metrics=accuracy, per_device_eval_batch_size=4
    ).evaluate()
    assert by_batch["eval_accuracy"] == whole["eval_accuracy"]
    assert by_batch["eval_loss"] == whole["eval_loss"]


def test_metrics_by_batch_see_reduced_logits_and_what_else_is_asked_for() -> None:
    metric = Keep()

    def compute(prediction: EvalPrediction, compute_result: bool) -> dict[str, float]:
        return metric(prediction)

    trainer = make_trainer(
        compute_metrics=compute,
        batch_eval_metrics=True,
        include_for_metrics=["inputs", "loss"],
        preprocess_logits_for_metrics=lambda logits, labels: logits.argmax(-1),
        per_device_eval_batch_size=4,
    )
    loss = trainer.evaluate()["eval_loss"]
    assert metric.given.predictions.shape == (2,)
    assert set(metric.given.inputs) == {"x", "labels"}
    assert metric.given.losses.shape == (2,)
    assert loss > 0


class Wide(nn.Module):
    """Returns 200 kB a sample, in memory that tracemalloc sees."""

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"loss": x.mean(), "logits": torch.from_numpy(np.zeros((len(x), 50_000), np.float32))}


def peak_of_evaluation(num_samples: int, **options: Any) -> int:
    """Bytes held at most during an evaluation, beyond what was held before."""
    trainer = make_trainer(
        model=Wide(), eval_dataset=make_samples(num_samples), per_device_eval_batch_size=1, **options
    )
    trainer.evaluate()
    tracemalloc.start()
    try:
        trainer.evaluate()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_batches_of_which_nothing_is_needed() -> None:
    modes: dict[str, Any] = {
        "batch by batch": {"batch_eval_metrics": True, "compute_metrics": BatchAccuracy()},
        "the loss alone": {"prediction_loss_only": True, "compute_metrics": accuracy},
        "without metrics": {},
    }
    for mode, options in modes.items():
        assert peak_of_evaluation(50, **options) < peak_of_evaluation(5, **options) + 200_000, mode
    assert peak_of_evaluation(50, compute_metrics=accuracy) > 50 * 200_000


def test_a_prediction_is_kept_even_if_metrics_go_by_batch() -> None:
    trainer = make_trainer(compute_metrics=BatchAccuracy(), batch_eval_metrics=True)
    output = trainer.predict(make_samples(11))
    assert output.predictions.shape == (11, 3)
    assert output.label_ids.shape == (11,)
    assert 0 <= output.metrics["test_accuracy"] <= 1


def test_a_metric_function_that_cannot_go_by_batch_is_an_error_when_the_trainer_is_made() -> None:
    with pytest.raises(UsageError, match=r"`batch_eval_metrics`: .* accuracy does not take that"):
        make_trainer(compute_metrics=accuracy, batch_eval_metrics=True)
    make_trainer(compute_metrics=lambda prediction, **kwargs: {}, batch_eval_metrics=True)


@pytest.mark.parametrize("option", [{"batch_eval_metrics": True}, {"include_for_metrics": ["loss"]}])
def test_options_of_metrics_without_metrics_are_said(
    option: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    make_trainer(**option)
    assert f"`{next(iter(option))}`: it has no effect without `compute_metrics`" in caplog.text


# -- what metrics see ------------------------------------------------------------------------------


def test_metrics_see_inputs_and_losses_if_asked_for() -> None:
    metric = Keep()
    samples = make_samples(10)
    trainer = make_trainer(
        eval_dataset=samples,
        compute_metrics=metric,
        include_for_metrics=["inputs", "loss"],
        per_device_eval_batch_size=4,
    )
    loss = trainer.evaluate()["eval_loss"]
    _, _, inputs, losses = metric.given
    np.testing.assert_array_equal(inputs, torch.stack([sample["x"] for sample in samples]).numpy())
    assert losses.shape == (10,)
    assert len(set(losses[:4])) == 1
    assert losses.mean() == loss
    make_trainer(compute_metrics=metric).evaluate()
    assert (metric.given.inputs, metric.given.losses) == (None, None)


class Ids(nn.Module):
    """forward takes ``input_ids`` and ``mask`` (batch, length) of any length."""

    main_input_name = "input_ids"

    def forward(
        self, mask: torch.Tensor, input_ids: torch.Tensor, labels: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        return {"loss": input_ids.float().mean(), "logits": input_ids * mask}


def test_inputs_of_different_length_are_filled_up() -> None:
    samples = [{"input_ids": torch.ones(n), "mask": torch.ones(n), "labels": n} for n in (1, 3)]
    metric = Keep()
    make_trainer(
        model=Ids(),
        eval_dataset=samples,
        compute_metrics=metric,
        include_for_metrics=["inputs"],
        per_device_eval_batch_size=1,
    ).evaluate()
    assert metric.given.inputs.tolist() == [[1, -100, -100], [1, 1, 1]]


def test_batches_are_kept_apart_if_asked_for() -> None:
    metric = Keep()
    trainer = make_trainer(
        compute_metrics=metric,
        eval_do_concat_batches=False,
        include_for_metrics=["loss", "inputs"],
        per_device_eval_batch_size=4,
    )
    output = trainer.predict(make_samples(10))
    for batches in (output.predictions, output.label_ids, *metric.given):
        assert [len(batch) for batch in batches] == [4, 4, 2]
    together = make_trainer(per_device_eval_batch_size=4).predict(make_samples(10))
    np.testing.assert_array_equal(np.concatenate(output.predictions), together.predictions)
    assert output.metrics["test_loss"] == together.metrics["test_loss"]


class Pair(NamedTuple):
    first: Any
    second: Any


class Anything(nn.Module):
    """Returns outputs of many kinds. forward takes ``ids`` (batch, length)."""

    def forward(self, ids: torch.Tensor, labels: torch.Tensor) -> dict[str, Any]:
        return {
            "loss": ids.float().mean(),
            "pair": Pair(ids, {"flags": ids > 0}),
            "scalar": ids.float().sum(),
            "text": "a batch",
            "nothing": None,
            "half": ids.bfloat16(),
        }


def test_outputs_of_any_kind_are_kept() -> None:
    samples = [{"ids": torch.arange(n), "labels": 0} for n in (1, 2)]
    trainer = make_trainer(model=Anything(), per_device_eval_batch_size=1)
    pair, scalar, text, half = trainer.predict(samples).predictions
    assert pair[0].tolist() == [[0, -100], [0, 1]]
    assert pair[1]["flags"].tolist() == [[0, -100], [0, 1]]
    assert scalar.tolist() == [0.0, 1.0]
    assert text == ["a batch", "a batch"]
    assert half.dtype == np.float32


class Span(nn.Module):
    """A model with two labels. forward: ``x`` (batch, 6), ``starts`` and ``ends`` (batch,)."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 2)

    def forward(
        self, x: torch.Tensor, starts: torch.Tensor | None = None, ends: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, ...]:
        logits: tuple[torch.Tensor, ...] = self.layer(x).unbind(-1)
        if starts is None or ends is None:
            return logits
        return ((logits[0] - starts).pow(2).mean() + (logits[1] - ends).pow(2).mean(), *logits)


def test_several_labels_are_a_tuple_and_none_of_them_is_none() -> None:
    samples = [{"x": s["x"], "starts": 1.0, "ends": float(i)} for i, s in enumerate(make_samples(5))]
    trainer = make_trainer(model=Span(), label_names=["starts", "ends"], per_device_eval_batch_size=2)
    output = trainer.predict(samples)
    starts, ends = output.label_ids
    assert starts.tolist() == [1.0] * 5
    assert ends.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert [logits.shape for logits in output.predictions] == [(5,), (5,)]
    without = trainer.predict([{"x": sample["x"]} for sample in samples])
    assert without.label_ids is None
    assert "test_loss" not in without.metrics
    np.testing.assert_array_equal(without.predictions[0], output.predictions[0])


class Contrastive(nn.Module):
    """A model that has a loss without labels, if asked."""

    def forward(self, x: torch.Tensor, return_loss: bool | None = None) -> dict[str, torch.Tensor]:
        return {"logits": x} if not return_loss else {"loss": x.sum(), "logits": x}


def test_a_loss_without_labels_is_found_if_the_batch_asks_for_it() -> None:
    def collate(samples: list[dict[str, Any]]) -> dict[str, Any]:
        return {"x": torch.stack([sample["x"] for sample in samples]), "return_loss": True}

    options: dict[str, Any] = {"model": Contrastive(), "label_names": []}
    assert "eval_loss" in make_trainer(data_collator=collate, **options).evaluate()
    assert "eval_loss" not in make_trainer(**options).evaluate()


def test_a_stream_is_evaluated_whole_and_counted() -> None:
    samples = make_samples(10)
    trainer = make_trainer(eval_dataset=samples, per_device_eval_batch_size=4, compute_metrics=accuracy)
    loop = trainer.evaluation_loop(trainer.get_eval_dataloader(Stream(samples)), "Evaluation")
    assert loop.num_samples == 10
    assert loop.predictions.shape == (10, 3)
    assert loop.metrics["eval_loss"] == trainer.evaluate()["eval_loss"]
    assert trainer.evaluate(Stream([]))["eval_samples_per_second"] == 0


def test_a_prediction_step_of_an_earlier_signature_is_called() -> None:
    class Earlier(drivetrain.Trainer):
        def prediction_step(self, model: Any, inputs: Any, prediction_loss_only: bool) -> Any:  # type: ignore[override]
            loss, logits, labels = super().prediction_step(model, inputs, prediction_loss_only)
            return 2 * loss, logits, labels

    samples = make_samples(4)
    plain = make_trainer(model=make_net(), eval_dataset=samples).evaluate()
    doubled = make_trainer(Earlier, model=make_net(), eval_dataset=samples).evaluate()
    assert doubled["eval_loss"] == 2 * plain["eval_loss"]


# -- several evaluation sets -----------------------------------------------------------------------


def test_early_stopping_goes_by_one_of_several_sets(caplog: pytest.LogCaptureFixture) -> None:
    samples = make_samples()
    trainer = make_trainer(
        eval_dataset={"first": samples[:4], "second": samples[4:]},
        callbacks=[EarlyStoppingCallback(2)],
        eval_strategy="steps",
        eval_steps=1,
        learning_rate=0.0,
        metric_for_best_model="eval_first_loss",
    )
    with caplog.at_level(logging.WARNING):
        assert trainer.train().global_step == 3
    assert "Early stopping" not in caplog.text
    assert "eval_first_loss" not in caplog.text


def test_early_stopping_by_what_no_set_gives_is_an_error() -> None:
    trainer = make_trainer(
        eval_dataset={"first": make_samples(4)},
        callbacks=[EarlyStoppingCallback],
        eval_strategy="steps",
        eval_steps=1,
        metric_for_best_model="loss",
    )
    with pytest.raises(KeyError, match="eval_first_loss"):
        trainer.train()


# -- the same as transformers' Trainer ---------------------------------------------------------------


def evaluate_with(
    library: Any, folder: Path, options: dict[str, Any]
) -> tuple[dict[str, Any], list[Any]]:
    """Metrics, and everything that the metric function was handed, as lists."""
    given: list[Any] = []

    def as_lists(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: as_lists(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [as_lists(item) for item in value]
        return value.tolist()

    def compute(prediction: Any, compute_result: bool = True) -> dict[str, float]:
        given.append([as_lists(element) for element in prediction])
        return {"calls": len(given)} if compute_result else {}

    parameters = {name: options[name] for name in options if name == "preprocess_logits_for_metrics"}
    arguments = {name: value for name, value in options.items() if name not in parameters}
    args = library.TrainingArguments(
        output_dir=str(folder),
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
        per_device_eval_batch_size=4,
        **arguments,
    )
    trainer = library.Trainer(
        model=make_net(),
        args=args,
        eval_dataset=[{**s, "input_ids": s["x"]} for s in make_samples(11)],
        compute_metrics=compute,
        data_collator=lambda samples: {
            "x": torch.stack([s["x"] for s in samples]),
            "labels": torch.tensor([s["labels"] for s in samples]),
        },
        **parameters,
    )
    trainer.model.main_input_name = "x"
    metrics = trainer.evaluate()
    return {name: metrics[name] for name in ("eval_loss", "eval_calls")}, given


@pytest.mark.parity
@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(
    "options",
    [
        {"include_for_metrics": ["inputs", "loss"]},
        {"eval_do_concat_batches": False},
        {"eval_do_concat_batches": False, "include_for_metrics": ["inputs"]},
        {"batch_eval_metrics": True},
        {"batch_eval_metrics": True, "include_for_metrics": ["inputs", "loss"]},
        {"eval_accumulation_steps": 2},
        {"preprocess_logits_for_metrics": lambda logits, labels: (logits.argmax(-1), logits)},
    ],
    ids=lambda options: ", ".join(options),
)
def test_metrics_are_handed_what_transformers_hands_them(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    os.environ["TRANSFORMERS_VERBOSITY"] = "error"
    import transformers

    theirs = evaluate_with(transformers, tmp_path, options)
    assert evaluate_with(drivetrain, tmp_path, options) == theirs

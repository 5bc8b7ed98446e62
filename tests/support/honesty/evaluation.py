"""Rows of the arguments of evaluation."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from small import Net, make_samples

from drivetrain import EvalPrediction, Trainer
from honesty.observations import (
    Formats,
    eval_batches,
    logged_at,
    updates,
)
from honesty.table import Case, row, seen, warned


class Afar(torch.Tensor):
    """A tensor that says that it is on a GPU, and notes when it is fetched from there."""

    fetched: list[None] = []

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return torch.device("cuda", 0)

    @property
    def is_cpu(self) -> bool:  # type: ignore[override]
        return False

    def numpy(self, *, force: bool = False) -> Any:
        assert force  # or a GPU's tensor is none of NumPy's
        self.fetched.append(None)
        return self.as_subclass(torch.Tensor).numpy()


def batches_until_fetched(trainer: Trainer) -> int:
    """Batches whose predictions have piled up on the device when the first is fetched."""
    Afar.fetched.clear()
    waiting: list[int] = []

    def move_afar(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        if not Afar.fetched:
            waiting.append(len(waiting) + 1)
        return logits.as_subclass(Afar)

    trainer.preprocess_logits_for_metrics = move_afar
    trainer.predict(make_samples(16))
    return len(waiting)


@row("eval_accumulation_steps", 3, per_device_eval_batch_size=4)
def eval_accumulation_steps(case: Case) -> None:
    assert batches_until_fetched(case.plain()) == 4
    assert batches_until_fetched(case.changed()) == 3
    (said,) = case.warnings(**case.setting)
    assert said.startswith(
        "`eval_accumulation_steps`: 3 has no effect on cpu, where predictions are in host"
    )


class Traced(Net):
    """Notes whether any call of it was made to trace it."""

    was_traced = False

    def forward(self, x: torch.Tensor, labels: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        self.was_traced |= bool(torch._C._get_tracing_state())
        return super().forward(x, labels)


def is_traced(trainer: Trainer) -> bool:
    trainer.evaluate(make_samples(24))
    assert isinstance(trainer.model, Traced)
    return trainer.model.was_traced


def formats_of_weights(trainer: Trainer) -> list[torch.dtype]:
    """The number formats of the weights in an evaluation, and after it."""
    model = trainer.model
    assert isinstance(model, Formats)
    model.weights.clear()
    trainer.evaluate()
    return [*model.weights, model.inner.weight.dtype]


def best_metric(trainer: Trainer) -> float | None:
    trainer.train()
    return trainer.state.best_metric


class Scores:
    """A function for metrics whose score is 0.2, 0.5, 0.1, and so on."""

    def __init__(self) -> None:
        self.values = iter([0.2, 0.5, 0.1] * 10)

    def __call__(self, prediction: EvalPrediction) -> dict[str, float]:
        return {"score": next(self.values)}


def with_scores(observe: Any) -> Any:
    def observe_with_scores(trainer: Trainer) -> Any:
        trainer.compute_metrics = Scores()
        return observe(trainer)

    return observe_with_scores


@row("metric_for_best_model", "score", eval_strategy="steps", eval_steps=2, load_best_model_at_end=True)
def metric_for_best_model(case: Case) -> None:
    for make, key, best in ((case.plain, "eval_loss", min), (case.changed, "eval_score", max)):
        trainer = make(save_strategy="steps", compute_metrics=Scores())
        trainer.train()
        values = [entry[key] for entry in trainer.state.log_history if key in entry]
        assert trainer.state.best_metric == best(values)


@row("include_for_metrics", ["inputs"])
def include_for_metrics(case: Case) -> None:
    predictions: list[EvalPrediction] = []

    def keep(prediction: EvalPrediction) -> dict[str, float]:
        predictions.append(prediction)
        return {}

    case.plain(compute_metrics=keep).evaluate()
    case.changed(compute_metrics=keep).evaluate()
    without, with_inputs = predictions
    assert without.inputs is None
    assert np.array_equal(with_inputs.inputs, torch.stack([s["x"] for s in make_samples()[:10]]).numpy())


def sizes_in_metrics(trainer: Trainer) -> list[tuple[int, bool | None]]:
    """The samples in each call of the function for metrics, and whether it is asked for the result."""
    calls: list[tuple[int, bool | None]] = []

    def compute(prediction: EvalPrediction, compute_result: bool | None = None) -> dict[str, float]:
        calls.append((len(prediction.predictions), compute_result))
        return {}

    trainer.compute_metrics = compute
    trainer.evaluate()
    return calls


def types_of_predictions(trainer: Trainer) -> list[Any]:
    """The shape of what a prediction gives; a shape for each batch if they are not put together."""
    predictions = trainer.predict(make_samples(10)).predictions
    is_list = isinstance(predictions, list)
    return [array.shape for array in predictions] if is_list else predictions.shape


ROWS = [
    seen("eval_strategy", "epoch", logged_at("eval_loss"), [], [6]),
    seen("eval_steps", 2, logged_at("eval_loss"), [1, 2, 3, 4, 5, 6], [2, 4, 6], eval_strategy="steps"),
    seen("eval_delay", 4, logged_at("eval_loss"), [1, 2, 3, 4, 5, 6], [4, 5, 6], eval_strategy="steps"),
    seen("eval_on_start", True, logged_at("eval_loss"), [], [0]),
    seen("per_device_eval_batch_size", 4, eval_batches, [8, 2], [4, 4, 2]),
    seen(
        "prediction_loss_only",
        True,
        lambda trainer: trainer.predict(make_samples(4)).predictions is None,
        False,
        True,
    ),
    eval_accumulation_steps,
    seen("eval_do_concat_batches", False, types_of_predictions, (10, 3), [(8, 3), (2, 3)]),
    warned("eval_use_gather_object", True, "has no effect with `strategy`='single'"),
    seen("batch_eval_metrics", True, sizes_in_metrics, [(10, None)], [(8, False), (2, True)]),
    include_for_metrics,
    seen("jit_mode_eval", True, is_traced, False, True, model=Traced),
    seen(
        "bf16_full_eval",
        True,
        formats_of_weights,
        [torch.float32] * 3,
        [torch.bfloat16] * 2 + [torch.float32],
        model=Formats,
    ),
    seen(
        "fp16_full_eval",
        True,
        formats_of_weights,
        [torch.float32] * 3,
        [torch.float16] * 2 + [torch.float32],
        model=Formats,
    ),
    metric_for_best_model,
    seen(
        "greater_is_better",
        False,
        with_scores(best_metric),
        0.5,
        0.1,
        eval_strategy="steps",
        eval_steps=2,
        metric_for_best_model="score",
    ),
    seen(
        "early_stopping_patience",
        1,
        with_scores(updates),
        6,
        3,
        eval_strategy="steps",
        eval_steps=1,
        metric_for_best_model="score",
    ),
]

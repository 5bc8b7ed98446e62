"""What training, evaluation and prediction return, and the numbers in it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np


class TrainOutput(NamedTuple):
    """What `Trainer.train` returns.

    Attributes:
        global_step: Updates done in all.
        training_loss: The mean loss over the updates.
        metrics: What is logged at the end of training.
    """

    global_step: int
    training_loss: float
    metrics: dict[str, float]


class EvalLoopOutput(NamedTuple):
    """What `Trainer.evaluation_loop` returns; arrays are NumPy's, nested as the model nests them."""

    predictions: Any
    label_ids: Any
    metrics: dict[str, float]
    num_samples: int


class PredictionOutput(NamedTuple):
    """What `Trainer.predict` returns; arrays are NumPy's, nested as the model nests them."""

    predictions: Any
    label_ids: Any
    metrics: dict[str, float]


class EvalPrediction:
    """What ``compute_metrics`` is called with. Unpacks into predictions and labels.

    Those are arrays of NumPy's. With ``eval_do_concat_batches=False`` each is a list with one for each
    batch; with ``batch_eval_metrics=True`` each is a batch's, as tensors on their device.

    Attributes:
        predictions: The model's outputs but the loss, shape (samples, ...); nested as it nests them.
        label_ids: The labels, shape (samples, ...); a tuple if ``label_names`` has several.
        inputs: The model's main input, if asked for; with ``batch_eval_metrics=True`` the whole batch.
        losses: The loss of each sample's batch, shape (samples,), if asked for.
    """

    def __init__(self, predictions: Any, label_ids: Any, inputs: Any = None, losses: Any = None) -> None:
        self.predictions = predictions
        self.label_ids = label_ids
        self.inputs = inputs
        self.losses = losses
        optional = [value for value in (inputs, losses) if value is not None]
        self.elements: tuple[Any, ...] = (predictions, label_ids, *optional)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.elements)

    def __getitem__(self, index: int) -> Any:
        return self.elements[index]


def metric_key(name: str) -> str:
    """The name of a metric as evaluations give it: with the prefix ``eval_``."""
    return name if name.startswith("eval_") else f"eval_{name}"


def speed_metrics(
    split: str,
    start_time: float,
    num_samples: float | None = None,
    num_steps: float | None = None,
    num_tokens: float | None = None,
) -> dict[str, float]:
    """Seconds since ``start_time`` (of `time.time`), and samples, steps and tokens per second."""
    runtime = time.time() - start_time
    metrics = {f"{split}_runtime": round(runtime, 4)}
    counts = {"samples": num_samples, "steps": num_steps, "tokens": num_tokens}
    for name, count in counts.items():
        if count is not None and runtime > 0:
            metrics[f"{split}_{name}_per_second"] = round(count / runtime, 3)
    return metrics


def as_json_numbers(values: Any) -> Any:
    """Turn NumPy scalars and one-element tensors, however nested, into Python's numbers."""
    if isinstance(values, Mapping):
        return {name: as_json_numbers(value) for name, value in values.items()}
    if isinstance(values, (list, tuple)):
        return type(values)(as_json_numbers(value) for value in values)
    if isinstance(values, np.generic):
        return values.item()
    count = getattr(values, "numel", None)  # of a tensor; torch is not imported for the names above
    if callable(count) and count() == 1:
        return values.item()
    return values

"""Arguments of evaluation during training."""

from __future__ import annotations

from dataclasses import dataclass

from drivetrain.arguments.choices import IntervalStrategy
from drivetrain.arguments.fields import argument


@dataclass
class EvaluationArguments:
    """When and how a model is evaluated."""

    eval_strategy: IntervalStrategy | str = argument(
        "no", "When to evaluate: 'no', 'steps' (every `eval_steps`) or 'epoch'."
    )
    eval_steps: float | None = argument(
        None,
        "Updates between two evaluations; below 1, a share of all updates. By default: `logging_steps`.",
    )
    eval_delay: float = argument(
        0, "Updates (or epochs, by `eval_strategy`) before the first evaluation."
    )
    eval_on_start: bool = argument(False, "Evaluate once before the first update.")
    per_device_eval_batch_size: int = argument(8, "Samples in an evaluation batch, on each device.")
    prediction_loss_only: bool = argument(False, "Compute the loss only, and keep no predictions.")
    eval_accumulation_steps: int | None = argument(
        None,
        "Batches whose predictions are kept on the device before they go to host memory. By default: all.",
    )
    metric_for_best_model: str | None = argument(
        None, "The metric that says which model is best, with or without 'eval_'. By default: 'loss'."
    )
    greater_is_better: bool | None = argument(
        None, "Whether more of that metric is better. By default: unless its name ends in 'loss'."
    )

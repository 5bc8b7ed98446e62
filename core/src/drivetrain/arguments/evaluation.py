"""Arguments of evaluation during training."""

from __future__ import annotations

from dataclasses import dataclass

from drivetrain.arguments.choices import IntervalStrategy
from drivetrain.arguments.fields import argument, argument_factory


@dataclass(init=False, repr=False, eq=False)
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
    eval_do_concat_batches: bool = argument(
        True, "Put the batches' predictions together. If not, they are lists with a member a batch."
    )
    eval_use_gather_object: bool = argument(
        False, "Gather objects that are no tensors from all processes, too."
    )
    batch_eval_metrics: bool = argument(
        False,
        "Call `compute_metrics` after each batch (with compute_result=True after the last) and keep no "
        "predictions.",
    )
    include_for_metrics: list[str] = argument_factory(
        list, "What `compute_metrics` gets besides predictions and labels: 'inputs', 'loss'."
    )
    jit_mode_eval: bool = argument(False, "Evaluate with a model that torch.jit has traced.")
    bf16_full_eval: bool = argument(False, "Evaluate with weights in bfloat16.")
    fp16_full_eval: bool = argument(False, "Evaluate with weights in float16.")
    metric_for_best_model: str | None = argument(
        None, "The metric that says which model is best, with or without 'eval_'. By default: 'loss'."
    )
    greater_is_better: bool | None = argument(
        None, "Whether more of that metric is better. By default: unless its name ends in 'loss'."
    )
    early_stopping_patience: int | None = argument(
        None, "Evaluations without a better metric after which training stops. By default: never."
    )

"""Arguments that were set and that nothing will read, each with a message that says why."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import TYPE_CHECKING, Any

from drivetrain.arguments.choices import IntervalStrategy
from drivetrain.parts import load_precision

if TYPE_CHECKING:
    from drivetrain.arguments.composed import TrainingArguments


def find_idle(args: TrainingArguments) -> Iterator[str]:
    """A message for each argument that has no effect beside the others."""
    yield from _intervals(args)
    for name, reader, example in _READ_ONLY_WITH:
        if not args.is_default(name) and not getattr(args, reader):
            yield f"`{name}`: {_show(args, name)} has no effect without `{reader}`. Type {example}."
    if args.warmup_steps and args.warmup_ratio:
        yield (
            f"`warmup_ratio`: {args.warmup_ratio} has no effect, for "
            f"`warmup_steps`={args.warmup_steps} comes "
            "first. Leave out one."
        )
    if args.max_steps > 0 and not args.is_default("num_train_epochs"):
        yield (
            f"`num_train_epochs`: {args.num_train_epochs} has no effect, for "
            f"`max_steps`={args.max_steps} comes "
            "first. Leave out one."
        )
    if args.eval_strategy == IntervalStrategy.NO and args.eval_delay:
        yield (
            f"`eval_delay`: {args.eval_delay} has no effect with `eval_strategy`='no'. Type "
            "eval_strategy='steps'."
        )
    if args.greater_is_better is not None and args.metric_for_best_model is None:
        yield (
            f"`greater_is_better`: {args.greater_is_better} has no effect without `metric_for_best_model`. "
            "Type metric_for_best_model='accuracy', say."
        )
    if args.eval_strategy == IntervalStrategy.NO and args.metric_for_best_model is not None:
        yield (
            f"`metric_for_best_model`: {args.metric_for_best_model!r} has no effect with "
            "`eval_strategy`='no'. Type eval_strategy='epoch'."
        )
    for name in _READ_ONLY_WITH_PREDICTIONS:
        if args.prediction_loss_only and not args.is_default(name):
            yield (
                f"`{name}`: {_show(args, name)} has no effect with `prediction_loss_only`=True, which "
                "keeps no predictions. Leave out one of them."
            )
    yield from _half_precision(args)
    config: Any = args.accelerator_config
    if args.group_by_length and "use_seedable_sampler" in config.changed():
        yield (
            "`accelerator_config`: use_seedable_sampler=False has no effect, for `group_by_length`=True "
            "comes first. Leave out one."
        )
    yield from _formats_and_devices(args)


_HUB = (
    "hub_model_id",
    "hub_strategy",
    "hub_token",
    "hub_private_repo",
    "hub_always_push",
    "hub_revision",
)
_READ_ONLY_WITH = (
    *((name, "push_to_hub", "push_to_hub=True") for name in _HUB),
    ("gradient_checkpointing_kwargs", "gradient_checkpointing", "gradient_checkpointing=True"),
    ("liger_kernel_config", "use_liger_kernel", "use_liger_kernel=True"),
    ("length_column_name", "group_by_length", "group_by_length=True"),
    ("fsdp_config", "fsdp", "fsdp='full_shard'"),
)


_READ_ONLY_WITH_PREDICTIONS = (
    "include_for_metrics",
    "eval_do_concat_batches",
    "eval_accumulation_steps",
)


def _intervals(args: TrainingArguments) -> Iterator[str]:
    for what in ("logging", "eval", "save"):
        interval, strategy = f"{what}_steps", getattr(args, f"{what}_strategy")
        goes_by_it = strategy == IntervalStrategy.STEPS
        if what == "logging":  # evaluations go by it, too, where they have no interval of their own
            goes_by_it |= args.eval_strategy == IntervalStrategy.STEPS
        if not goes_by_it and not args.is_default(interval):
            yield (
                f"`{interval}`: {getattr(args, interval)} has no effect with "
                f"`{what}_strategy`={strategy.value!r}. Type {what}_strategy='steps'."
            )


_BACKENDS = {"cpu_amp": ("cpu", "the CPU"), "cuda_amp": ("cuda", "NVIDIA and AMD GPUs")}
"""Values of `half_precision_backend`, with the device that each is for."""


def _half_precision(args: TrainingArguments) -> Iterator[str]:
    backend = args.half_precision_backend
    if not args.is_default("half_precision_backend") and load_precision(args).name == "no":
        yield (
            f"`half_precision_backend`: {backend!r} has no effect without `bf16` or `fp16`. "
            "Type bf16=True, say."
        )
    elif backend in _BACKENDS and args.device.type != _BACKENDS[backend][0]:
        yield (
            f"`half_precision_backend`: {backend!r} is for {_BACKENDS[backend][1]}, and this run computes on "
            f"{args.device}: torch's own for that device is used. Leave it out."
        )


def _formats_and_devices(args: TrainingArguments) -> Iterator[str]:
    if not args.is_default("fp16_opt_level") and load_precision(args).name != "apex":
        yield (
            f"`fp16_opt_level`: {args.fp16_opt_level!r} is a level of NVIDIA Apex, which is not used. "
            "Type half_precision_backend='apex', or leave it out."
        )
    is_kept = args.eval_accumulation_steps is not None and not args.prediction_loss_only
    if is_kept and args.device.type == "cpu":
        yield (
            f"`eval_accumulation_steps`: {args.eval_accumulation_steps} has no effect on {args.device}, "
            "where predictions are in host memory at once."
        )
    if args.use_ipex:
        yield (
            "`use_ipex`: True has no effect: Intel has ended its extension for PyTorch, whose "
            "optimizations are "
            "in PyTorch itself. Leave it out."
        )
    if args.optim_target_precision is not None:
        yield (
            f"`optim_target_precision`: {args.optim_target_precision!r} has no effect: no "
            "optimizer reads it. "
            "Name one that keeps its state in fewer bits (`drivetrain plugins`), or set `precision`."
        )
    if not args.is_default("ray_scope"):
        yield f"`ray_scope`: {args.ray_scope!r} is read by searches with Ray only (backend='ray')."


def _show(args: TrainingArguments, name: str) -> str:
    value = getattr(args, name)
    shown = value.value if isinstance(value, Enum) else value
    return "..." if name.endswith("token") else repr(shown)

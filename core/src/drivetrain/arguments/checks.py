"""What is wrong with arguments by themselves, without looking at any part that they name.

Each check yields whole messages; all are collected, so that one run shows every problem.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from enum import Enum
from typing import TYPE_CHECKING

from drivetrain.arguments.choices import IntervalStrategy, SaveStrategy

if TYPE_CHECKING:
    from drivetrain.arguments.composed import TrainingArguments


def find_problems(args: TrainingArguments) -> Iterator[str]:
    """Every message about the arguments' own values and about those that contradict each other."""
    yield from _check_numbers(args)
    yield from _check_choices(args)
    yield from _check_contradictions(args)


def find_warnings(args: TrainingArguments) -> Iterator[str]:
    """Every message about an interval that was set and that nothing goes by."""
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


_AT_LEAST_ONE = (
    "per_device_train_batch_size",
    "per_device_eval_batch_size",
    "gradient_accumulation_steps",
)
_NOT_NEGATIVE = ("learning_rate", "weight_decay", "adam_epsilon", "max_grad_norm", "eval_delay")
_WHOLE = ("warmup_steps", "dataloader_num_workers", "seed")
_AT_LEAST_ONE_OR_NONE = ("save_total_limit", "eval_accumulation_steps", "dataloader_prefetch_factor")
_SHARES = {"adam_beta1": "[0, 1)", "adam_beta2": "[0, 1)", "warmup_ratio": "[0, 1]"}
_STEPS = ("logging_steps", "eval_steps", "save_steps")


def _check_numbers(args: TrainingArguments) -> Iterator[str]:
    for name in _AT_LEAST_ONE:
        value = getattr(args, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            yield f"`{name}`: {value!r} is no whole number from 1 up. Type {name}=8, say."
    for name in _AT_LEAST_ONE_OR_NONE:
        value = getattr(args, name)
        if value is not None and (not isinstance(value, int) or value < 1):
            yield f"`{name}`: {value!r} is no whole number from 1 up. Leave it out, or type {name}=2, say."
    for name in _NOT_NEGATIVE:
        value = getattr(args, name)
        if not isinstance(value, (int, float)) or not value >= 0:
            quotes = "without quotes: " if isinstance(value, str) else ""
            yield f"`{name}`: {value!r} is no number from 0 up. Type {quotes}{name}=0.01, say."
    for name in _WHOLE:
        value = getattr(args, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            yield f"`{name}`: {value!r} is no whole number from 0 up. Type {name}=2, say."
    for name, allowed in _SHARES.items():
        value = getattr(args, name)
        is_inside = isinstance(value, (int, float)) and 0 <= value <= 1
        if not is_inside or (value == 1 and allowed.endswith(")")):
            example = 0.1 if name == "warmup_ratio" else 0.9
            yield f"`{name}`: {value!r} is not in {allowed}. Type {name}={example}, say."
    yield from _check_steps(args)
    yield from _check_length(args)


def _check_length(args: TrainingArguments) -> Iterator[str]:
    for name, kinds in (("max_steps", int), ("num_train_epochs", (int, float))):
        value = getattr(args, name)
        if not isinstance(value, kinds) or isinstance(value, bool) or not math.isfinite(value):
            yield f"`{name}`: {value!r} is no number that says how long to train. Type {name}=3, say."
            return
    if args.max_steps <= 0 and args.num_train_epochs <= 0:
        yield (
            f"`num_train_epochs`: {args.num_train_epochs!r} trains nothing, and `max_steps` is not set. "
            "Type num_train_epochs=3, or max_steps=1000."
        )


def _check_steps(args: TrainingArguments) -> Iterator[str]:
    for name in _STEPS:
        value = getattr(args, name)
        if value is None:
            continue
        is_number = isinstance(value, (int, float)) and math.isfinite(value)
        if not is_number or value <= 0 or (value >= 1 and value != int(value)):
            yield (
                f"`{name}`: {value!r} is neither a whole number of updates from 1 up nor a share of "
                f"all updates between 0 and 1. Type {name}=500, or {name}=0.1 for every tenth."
            )


def _check_choices(args: TrainingArguments) -> Iterator[str]:
    choices: dict[str, type[Enum]] = {
        "eval_strategy": IntervalStrategy,
        "logging_strategy": IntervalStrategy,
        "save_strategy": SaveStrategy,
    }
    for name, choice in choices.items():
        value = getattr(args, name)
        if not isinstance(value, choice):
            allowed = ", ".join(repr(member.value) for member in choice)
            yield f"`{name}`: {value!r} is no strategy. Allowed: {allowed}. Type {name}='steps', say."


def _check_contradictions(args: TrainingArguments) -> Iterator[str]:
    if args.fp16 and args.bf16:
        yield "`fp16`: True contradicts `bf16`=True. Set one of them."
    if args.precision != "auto" and (args.fp16 or args.bf16):
        flag = "fp16" if args.fp16 else "bf16"
        yield (
            f"`precision`: {args.precision!r} contradicts `{flag}`=True. "
            f"Leave out one: precision={flag!r} says the same as {flag}=True."
        )
    if args.eval_strategy == IntervalStrategy.NO:
        if args.load_best_model_at_end:
            yield (
                "`load_best_model_at_end`: True needs evaluations to find the best model, and "
                "`eval_strategy` is 'no'. Type eval_strategy='epoch'."
            )
        if args.save_strategy == SaveStrategy.BEST:
            yield (
                "`save_strategy`: 'best' needs evaluations to find the best model, and "
                "`eval_strategy` is 'no'. Type eval_strategy='epoch'."
            )
    if args.load_best_model_at_end and args.save_strategy == SaveStrategy.NO:
        yield (
            "`load_best_model_at_end`: True needs a checkpoint of the best model, and "
            "`save_strategy` is 'no'. Type save_strategy='best'."
        )
    twice = sorted({name for name in args.plugins if args.plugins.count(name) > 1})
    if twice:
        yield f"`plugins`: {', '.join(map(repr, twice))} stands there more than once. Leave it once."
    if args.dataloader_num_workers == 0:
        if args.dataloader_prefetch_factor is not None:
            yield (
                f"`dataloader_prefetch_factor`: {args.dataloader_prefetch_factor} needs loading "
                "processes, and `dataloader_num_workers` is 0. Type dataloader_num_workers=2."
            )
        if args.dataloader_persistent_workers:
            yield (
                "`dataloader_persistent_workers`: True needs loading processes, and "
                "`dataloader_num_workers` is 0. Type dataloader_num_workers=2."
            )

"""What is wrong with arguments by themselves, without looking at any part that they name.

Each check yields whole messages; all are collected, so that one run shows every problem.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import math
from collections.abc import Iterator
from enum import Enum
from typing import TYPE_CHECKING

from drivetrain.arguments.choices import DebugOption, HubStrategy, IntervalStrategy, SaveStrategy

if TYPE_CHECKING:
    from drivetrain.arguments.composed import TrainingArguments


def find_problems(args: TrainingArguments) -> Iterator[str]:
    """Every message about the arguments' own values and about those that contradict each other."""
    yield from _check_numbers(args)
    yield from _check_choices(args)
    yield from _check_contradictions(args)


_AT_LEAST_ONE = (
    "per_device_train_batch_size",
    "per_device_eval_batch_size",
    "gradient_accumulation_steps",
    "ddp_timeout",
)
_NOT_NEGATIVE = (
    *("learning_rate", "weight_decay", "adam_epsilon", "max_grad_norm", "eval_delay"),
    "reporter_timeout",
)
_WHOLE = ("warmup_steps", "dataloader_num_workers", "seed")
_AT_LEAST_ONE_OR_NONE = (
    "save_total_limit",
    "eval_accumulation_steps",
    "dataloader_prefetch_factor",
    "torch_empty_cache_steps",
    "early_stopping_patience",
)
_SHARES = {
    "adam_beta1": "[0, 1)",
    "adam_beta2": "[0, 1)",
    "warmup_ratio": "[0, 1]",
    "label_smoothing_factor": "[0, 1]",
}
_STEPS = ("logging_steps", "eval_steps", "save_steps")


def _check_numbers(args: TrainingArguments) -> Iterator[str]:
    for name in _AT_LEAST_ONE:
        value = getattr(args, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            yield f"`{name}`: {value!r} is no whole number from 1 up. Type {name}=8, say."
    for name in _AT_LEAST_ONE_OR_NONE:
        value = getattr(args, name)
        is_whole = isinstance(value, int) and not isinstance(value, bool)
        if value is not None and (not is_whole or value < 1):
            yield f"`{name}`: {value!r} is no whole number from 1 up. Leave it out, or type {name}=2, say."
    for name in _NOT_NEGATIVE:
        value = getattr(args, name)
        if not isinstance(value, (int, float)) or not value >= 0:
            quotes = "without quotes: " if isinstance(value, str) else ""
            example = 60 if name == "reporter_timeout" else 0.01
            yield f"`{name}`: {value!r} is no number from 0 up. Type {quotes}{name}={example}, say."
    for name in _WHOLE:
        value = getattr(args, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            yield f"`{name}`: {value!r} is no whole number from 0 up. Type {name}=2, say."
    for name, allowed in _SHARES.items():
        value = getattr(args, name)
        is_inside = isinstance(value, (int, float)) and 0 <= value <= 1
        if not is_inside or (value == 1 and allowed.endswith(")")):
            example = 0.9 if name.startswith("adam") else 0.1
            yield f"`{name}`: {value!r} is not in {allowed}. Type {name}={example}, say."
    alpha = args.neftune_noise_alpha
    if alpha is not None and (not isinstance(alpha, (int, float)) or not 0 < alpha < math.inf):
        yield f"`neftune_noise_alpha`: {alpha!r} is no number above 0. Leave it out, or type 5.0, say."
    if isinstance(args.past_index, int) and args.past_index < -1:
        yield f"`past_index`: {args.past_index!r} is no index of an output. Type past_index=-1 for none."
    yield from _check_steps(args)
    yield from _check_reporters(args)
    yield from _check_length(args)


def _check_reporters(args: TrainingArguments) -> Iterator[str]:
    if isinstance(args.report_to, list) and "none" in args.report_to and len(args.report_to) > 1:
        yield (
            f"`report_to`: {args.report_to!r} has 'none' beside names, and that means nobody. Leave it "
            "out, or type report_to='none'."
        )


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


_CHOICES: dict[str, type[Enum]] = {
    "eval_strategy": IntervalStrategy,
    "logging_strategy": IntervalStrategy,
    "save_strategy": SaveStrategy,
    "hub_strategy": HubStrategy,
}
_MEMBERS = {"include_for_metrics": ("inputs", "loss")}
_SIGNALS = (
    *("SIGTERM", "SIGUSR1", "SIGUSR2", "SIGINT"),
    *("SIGHUP", "SIGQUIT", "SIGXCPU", "SIGALRM", "SIGBREAK"),
)
"""Signals of which at least one operating system ends a process by default, and lets it do something else."""
_WORDS = {"include_num_input_tokens_seen": ("all", "non_padding", "no")}


def _check_choices(args: TrainingArguments) -> Iterator[str]:
    for name, choice in _CHOICES.items():
        value = getattr(args, name)
        if not isinstance(value, choice):
            allowed = ", ".join(repr(member.value) for member in choice)
            example = "every_save" if choice is HubStrategy else "steps"
            yield f"`{name}`: {value!r} is no strategy. Allowed: {allowed}. Type {name}={example!r}, say."
    declared = {field.name: field.metadata.get("choices") for field in dataclasses.fields(args)}
    for name, words in {**declared, **_WORDS}.items():
        value = getattr(args, name)
        if words and value is not None and value not in words:
            allowed = ", ".join(map(repr, words))
            yield (
                f"`{name}`: {value!r} is none of its values. Allowed: {allowed}. Type "
                f"{name}={words[0]!r}, say."
            )
    for name, words in _MEMBERS.items():
        unknown = [word for word in getattr(args, name) if word not in words]
        if unknown:
            allowed = ", ".join(map(repr, words))
            yield (
                f"`{name}`: {unknown[0]!r} is none of its members. Allowed: {allowed}. Type "
                f"{name}={list(words)!r}."
            )
    for name in args.preemption_signals:
        if name not in _SIGNALS:
            yield (
                f"`preemption_signals`: {name!r} is no signal to leave at. Allowed: "
                f"{', '.join(map(repr, _SIGNALS))}. Type preemption_signals=['SIGTERM'], or 'none'."
            )


def _check_contradictions(args: TrainingArguments) -> Iterator[str]:
    if args.fp16 and args.bf16:
        yield "`fp16`: True contradicts `bf16`=True. Set one of them."
    if args.precision != "auto" and (args.fp16 or args.bf16):
        flag = "fp16" if args.fp16 else "bf16"
        yield (
            f"`precision`: {args.precision!r} contradicts `{flag}`=True. "
            f"Leave out one: precision={flag!r} says the same as {flag}=True."
        )
    if args.fp16_full_eval and args.bf16_full_eval:
        yield "`fp16_full_eval`: True contradicts `bf16_full_eval`=True. Set one of them."
    if args.half_precision_backend == "apex" and args.precision not in ("auto", "apex"):
        yield (
            f"`half_precision_backend`: 'apex' contradicts `precision`={args.precision!r}. Leave "
            "out one of them."
        )
    if args.deepspeed and args.fsdp:
        yield "`deepspeed`: contradicts `fsdp`: each shards the model in its own way. Set one of them."
    if args.eval_strategy == IntervalStrategy.NO:
        if args.early_stopping_patience is not None:
            yield (
                f"`early_stopping_patience`: {args.early_stopping_patience} needs evaluations to go by, and "
                "`eval_strategy` is 'no'. Type eval_strategy='epoch'."
            )
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
    yield from _check_evaluation(args)
    yield from _check_hardware(args)
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


def _check_evaluation(args: TrainingArguments) -> Iterator[str]:
    if args.batch_eval_metrics and args.prediction_loss_only:
        yield (
            "`batch_eval_metrics`: True needs predictions, and `prediction_loss_only`=True computes none. "
            "Set one of them."
        )
    if args.batch_eval_metrics and not args.eval_do_concat_batches:
        yield (
            "`eval_do_concat_batches`: False keeps all batches, and `batch_eval_metrics`=True none. "
            "Set one of them."
        )


def _check_hardware(args: TrainingArguments) -> Iterator[str]:
    is_without_xla = importlib.util.find_spec("torch_xla") is None
    if args.tpu_num_cores is not None and is_without_xla:
        yield (
            f"`tpu_num_cores`: {args.tpu_num_cores} asks for a TPU, and torch_xla, through which "
            "PyTorch reaches "
            "one, is not installed. Leave tpu_num_cores out, or type: pip install torch_xla (on "
            "a TPU's machine)."
        )
    if DebugOption.TPU_METRICS_DEBUG in args.debug and is_without_xla:
        yield (
            "`debug`: 'tpu_metrics_debug' prints metrics of torch_xla, which is not installed. Leave it out."
        )

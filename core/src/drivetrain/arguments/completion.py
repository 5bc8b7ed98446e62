"""Arguments made complete: texts become what they stand for, and defaults that depend on others are set.

It can be done again and gives the same: the `set_...` methods do.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import signal
import socket
import typing
from collections.abc import Iterator, Mapping
from datetime import datetime
from enum import Enum
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drivetrain.arguments.accelerator import AcceleratorConfig
from drivetrain.arguments.choices import (
    DebugOption,
    FSDPOption,
    HubStrategy,
    IntervalStrategy,
    SaveStrategy,
)
from drivetrain.plugin.options import convert, show_type

if TYPE_CHECKING:
    from drivetrain.arguments.composed import TrainingArguments

logger = logging.getLogger(__name__)

_CHOICES: Mapping[str, type[Enum]] = {
    "eval_strategy": IntervalStrategy,
    "logging_strategy": IntervalStrategy,
    "save_strategy": SaveStrategy,
    "hub_strategy": HubStrategy,
}
_DICTS = ("gradient_checkpointing_kwargs", "liger_kernel_config")
_DICTS_OR_FILES = ("fsdp_config", "deepspeed", "accelerator_config")

COMPLETED_DEFAULTS: Mapping[str, Any] = {
    "fsdp": [],
    "debug": [],
    "accelerator_config": AcceleratorConfig(),
    "include_num_input_tokens_seen": "no",
    "log_level_replica": "passive",  # which is the level of the default, too
}
"""What defaults are once they are completed, or spelt otherwise, where that is something else."""


def complete(args: TrainingArguments) -> Iterator[str]:
    """Complete the arguments, and yield a message for each value that cannot be read."""
    for name, value in vars(args).items():
        if isinstance(value, Enum) and name not in _CHOICES:
            setattr(args, name, value.value)
    _complete_paths(args)
    for name, choice in _CHOICES.items():
        setattr(args, name, _as_choice(choice, getattr(args, name)))
    for name in (*_DICTS, *_DICTS_OR_FILES):
        try:
            setattr(args, name, _read_dict(getattr(args, name), name in _DICTS_OR_FILES))
        except (OSError, ValueError) as error:
            yield f"`{name}`: {getattr(args, name)!r} cannot be read: {error}. Type a dict or JSON."
    if args.optim == "adamw_hf":
        logger.warning("`optim`: 'adamw_hf' is gone; PyTorch's own is used. Type optim='adamw_torch'.")
        args.optim = "adamw_torch"
    yield from _complete_lists(args)
    yield from _complete_accelerator(args)
    _complete_defaults(args)
    yield from _check_types(args)


def _complete_paths(args: TrainingArguments) -> None:
    args.output_dir = os.path.expanduser(args.output_dir or "trainer_output")
    if args.logging_dir is None:
        now = datetime.now().strftime("%b%d_%H-%M-%S")
        args.logging_dir = os.path.join(args.output_dir, "runs", f"{now}_{socket.gethostname()}")
    args.logging_dir = os.path.expanduser(args.logging_dir)
    if args.run_name is None:
        args.run_name = args.output_dir


def _complete_lists(args: TrainingArguments) -> Iterator[str]:
    args.plugins = _as_list(args.plugins)
    args.include_for_metrics = _as_list(args.include_for_metrics)
    fsdp = ["full_shard"] if args.fsdp is True else [] if not args.fsdp else args.fsdp
    args.fsdp = yield from _as_members("fsdp", FSDPOption, fsdp)
    args.debug = yield from _as_members("debug", DebugOption, args.debug or [])
    args.preemption_signals = _as_signals(args.preemption_signals)


def _as_members(name: str, choice: type[Enum], value: Any) -> typing.Generator[str, None, list[Any]]:
    given = [value] if isinstance(value, str) else list(value)
    words: list[Any] = []
    for item in given:  # members of the enum are texts, too
        words += item.replace(",", " ").split() if type(item) is str else [item]
    allowed = ", ".join(repr(member.value) for member in choice)
    for word in words:
        if not isinstance(_as_choice(choice, word), choice):
            yield f"`{name}`: {word!r} is not among its options. Allowed: {allowed}, separated by spaces."
    return [_as_choice(choice, word) for word in words]


def _as_signals(value: Any) -> list[Any]:
    """Signals by name as manuals have them: ``USR1`` and ``signal.SIGUSR1`` become ``SIGUSR1``."""
    if value is None or value is False:  # an unquoted `no` in YAML
        return []
    words: list[Any] = []
    for item in value if isinstance(value, (list, tuple, set)) else [value]:
        words += item.replace(",", " ").split() if type(item) is str else [item]
    if [str(word).lower() for word in words] == ["none"]:
        return []
    return [_as_signal(word) for word in words]


def _as_signal(word: Any) -> Any:
    if isinstance(word, str):
        return f"SIG{word.upper().removeprefix('SIG')}"
    known = [] if isinstance(word, bool) else [member for member in signal.Signals if member == word]
    return known[0].name if known else word


def _complete_accelerator(args: TrainingArguments) -> Iterator[str]:
    config = args.accelerator_config
    if config is None or isinstance(config, dict):
        known = [field.name for field in dataclasses.fields(AcceleratorConfig)]
        unknown = sorted(set(config or {}) - set(known))
        if unknown:
            yield (
                f"`accelerator_config`: {', '.join(map(repr, unknown))} is none of its keys. "
                f"Allowed: {', '.join(known)}."
            )
            return
        args.accelerator_config = config = AcceleratorConfig(**(config or {}))
    accumulation = dict(getattr(config, "gradient_accumulation_kwargs", None) or {})
    num_steps = accumulation.pop("num_steps", None)
    if accumulation:
        yield (
            "`accelerator_config`: gradient_accumulation_kwargs has "
            f"{', '.join(map(repr, accumulation))}, and "
            "only 'num_steps' has a meaning here: the schedule moves once an update, and gradients are "
            "passed on once an update."
        )
    if num_steps is not None:
        if args.gradient_accumulation_steps not in (1, num_steps):
            yield (
                f"`gradient_accumulation_steps`: {args.gradient_accumulation_steps} contradicts "
                "`accelerator_config`, "
                f"whose gradient_accumulation_kwargs say num_steps={num_steps}. Leave out one."
            )
        args.gradient_accumulation_steps = num_steps


def _complete_defaults(args: TrainingArguments) -> None:
    if args.eval_strategy != IntervalStrategy.NO:
        args.do_eval = True
        if args.eval_strategy == IntervalStrategy.STEPS and args.eval_steps is None:
            args.eval_steps = args.logging_steps
    if args.eval_delay is None:
        args.eval_delay = 0
    if args.disable_tqdm is None:
        args.disable_tqdm = logger.getEffectiveLevel() > logging.WARNING
    if args.metric_for_best_model is None and _compares_models(args):
        args.metric_for_best_model = "loss"
    if args.greater_is_better is None and isinstance(args.metric_for_best_model, str):
        args.greater_is_better = not args.metric_for_best_model.endswith("loss")
    if args.torch_compile_backend is not None or args.torch_compile_mode is not None:
        args.torch_compile = True
    if args.torch_compile and args.torch_compile_backend is None:
        args.torch_compile_backend = "inductor"
    if isinstance(args.include_num_input_tokens_seen, bool):
        args.include_num_input_tokens_seen = "all" if args.include_num_input_tokens_seen else "no"


def _compares_models(args: TrainingArguments) -> bool:
    return (
        args.load_best_model_at_end
        or args.save_strategy == SaveStrategy.BEST
        or args.lr_scheduler_type == "reduce_lr_on_plateau"
        or args.early_stopping_patience is not None
    )


_CHECKED_BY_NUMBER = frozenset(
    [
        *("learning_rate", "weight_decay", "adam_epsilon", "max_grad_norm", "eval_delay"),
        "reporter_timeout",
        *("adam_beta1", "adam_beta2", "warmup_ratio", "label_smoothing_factor", "neftune_noise_alpha"),
        *("per_device_train_batch_size", "per_device_eval_batch_size", "gradient_accumulation_steps"),
        *(
            "warmup_steps",
            "dataloader_num_workers",
            "seed",
            "save_total_limit",
            "eval_accumulation_steps",
        ),
        *(
            "dataloader_prefetch_factor",
            "torch_empty_cache_steps",
            "early_stopping_patience",
            "ddp_timeout",
        ),
        *("logging_steps", "eval_steps", "save_steps", "max_steps", "num_train_epochs"),
    ]
)
"""Arguments whose type `drivetrain.arguments.checks` looks at together with their range."""

_CHECKED_BY_PART = frozenset(
    [
        *("optim_args", "optim_target_modules", "lr_scheduler_kwargs", "reporter_args", "deepspeed"),
        *_CHOICES,
    ]
)


def _check_types(args: TrainingArguments) -> Iterator[str]:
    for name, hint in _hints(type(args)).items():
        if name in _CHECKED_BY_NUMBER or name in _CHECKED_BY_PART:
            continue
        value = getattr(args, name)
        try:
            converted = convert(value, hint)
        except (TypeError, OverflowError):
            yield f"`{name}`: {value!r} is no {show_type(hint)}.{_suggest(name, value, hint)}"
            continue
        if converted is not value:
            setattr(args, name, converted)


def _suggest(name: str, value: Any, hint: Any) -> str:
    members = typing.get_args(hint) or (hint,)
    if bool in members:
        return f" Type {name}=True or {name}=False."
    if any(typing.get_origin(member) is list for member in (hint, *members)) and isinstance(value, str):
        return f" Type {name}=[{value!r}]."
    return " Leave it out, or give a value of that type."


@lru_cache
def _hints(cls: type[Any]) -> Mapping[str, Any]:
    hints = typing.get_type_hints(cls)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


def _as_choice(choice: type[Enum], value: Any) -> Any:
    """The member with that value; the value itself where there is none, for the checks to report."""
    if value is False:  # an unquoted `no` in YAML
        value = "no"
    try:
        return choice(value.value if isinstance(value, Enum) else value)
    except ValueError:
        return value


def _as_list(value: Any) -> list[Any]:
    return [value] if isinstance(value, str) else list(value or [])


def _read_dict(value: Any, may_be_file: bool) -> Any:
    """A dict given as JSON, or in a JSON file; anything else as it is."""
    if not isinstance(value, (str, Path)):
        return value
    text = str(value)
    if not text.lstrip().startswith("{"):
        if not may_be_file:
            raise ValueError("it is no JSON object")
        text = Path(text).expanduser().read_text(encoding="utf-8")
    return json.loads(text)

"""Parameter groups (what weight decay applies to), and schedules by name."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from torch import nn
from torch.optim import Optimizer

from drivetrain.parts import load_scheduler
from drivetrain.plugin.optimizer import OptimizerPlugin
from drivetrain_registry import UsageError

if TYPE_CHECKING:
    from drivetrain.arguments import SchedulerType, TrainingArguments
    from drivetrain.trainer import Trainer

logger = logging.getLogger(__name__)

_NO_DECAY = re.compile(r"bias|layernorm|rmsnorm|(?:^|\.)norm(?:$|\.)|_norm(?:$|\.)")


def decay_parameter_names(model: nn.Module) -> list[str]:
    """Names of the parameters that weight decay applies to.

    Left out are those inside an `nn.LayerNorm`, and those whose name holds ``bias``, ``layernorm``,
    ``rmsnorm``, or a component that is or ends in ``norm``.
    """
    inside_norm = tuple(
        f"{name}." for name, module in model.named_modules() if name and isinstance(module, nn.LayerNorm)
    )
    return [
        name
        for name, _ in model.named_parameters(remove_duplicate=False)
        if not name.startswith(inside_norm) and not _NO_DECAY.search(name.lower())
    ]


def decay_groups(
    model: nn.Module, decay_names: Iterable[str], weight_decay: float
) -> list[dict[str, Any]]:
    """Two parameter groups of the trainable parameters: those that decay, and those that do not."""
    decayed = set(decay_names)
    trainable = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    return [
        {"params": [p for name, p in trainable if name in decayed], "weight_decay": weight_decay},
        {"params": [p for name, p in trainable if name not in decayed], "weight_decay": 0.0},
    ]


def class_and_kwargs(
    plugin: OptimizerPlugin, args: TrainingArguments, model: nn.Module | None
) -> tuple[type[Optimizer], dict[str, Any]]:
    """What `Trainer.get_optimizer_cls_and_kwargs` returns."""
    cls, kwargs = plugin.build()
    if type(plugin).group_parameters is OptimizerPlugin.group_parameters:
        return cls, kwargs
    if model is None:
        raise UsageError(
            f"`optim`: {plugin.name!r} sorts the model's parameters in its own way, and no model was given. "
            "Call get_optimizer_cls_and_kwargs(args, model)."
        )
    groups = decay_groups(model, decay_parameter_names(model), args.weight_decay)
    return cls, {**kwargs, "params": plugin.group_parameters(model, groups)}


def make_optimizer(
    cls: type[Optimizer], groups: list[dict[str, Any]], kwargs: dict[str, Any]
) -> Optimizer:
    """Make an optimizer of class and keyword arguments, which may hold groups of their own as ``params``."""
    others = {name: value for name, value in kwargs.items() if name != "params"}
    return cls(kwargs.get("params", groups), **others)


def warn_of_left_out(optimizer: Optimizer, model: nn.Module, name: str) -> None:
    """Say which trainable parameters are in no group of the optimizer, and so will not change."""
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    left_out = [n for n, p in model.named_parameters() if p.requires_grad and id(p) not in held]
    if left_out:
        logger.warning(
            "`optim`: %r leaves out %d trainable parameters, which will not change: %s.",
            name,
            len(left_out),
            ", ".join(left_out[:5]) + (", ..." if len(left_out) > 5 else ""),
        )


def describe_optimizer(trainer: Trainer) -> str:
    """What is said of the optimizer when a run begins: options, memory, limits, paper."""
    plugin = trainer.optimizer_plugin
    if not trainer.has_optimizer_of_plugin:
        name = type(trainer.optimizer).__name__
        return f"Optimizer: {name}, which the trainer was given or a subclass of it made."
    parts = [f"Optimizer: {plugin.title}"]
    given = {f.name: getattr(plugin.options, f.name) for f in fields(plugin.options) if f.init}
    options = [f"{name}={value!r}" for name, value in given.items() if value is not None]
    parts += [f"with {', '.join(options)}"] if options else []
    if plugin.state_bytes is not None:
        size = plugin.state_bytes * trainer.get_num_trainable_parameters() / 2**20
        parts.append(
            f"about {plugin.state_bytes:.3g} bytes of state for a parameter, {size:.1f} MiB in all"
        )
    parts += [f"cannot be combined with {', '.join(plugin.cannot)}"] if plugin.cannot else []
    parts += [plugin.paper] if plugin.paper else []
    return "; ".join(parts) + "."


def get_scheduler(
    name: str | SchedulerType,
    optimizer: Optimizer,
    num_warmup_steps: int | None = None,
    num_training_steps: int | None = None,
    scheduler_specific_kwargs: dict[str, Any] | None = None,
) -> Any:
    """A schedule by its name, without a trainer.

    Args:
        name: Any installed schedule: ``"cosine"``.
        optimizer: The optimizer whose rates it drives.
        num_warmup_steps: Updates during which the rate rises. By default: none.
        num_training_steps: Updates in all; needed by the schedules that end.
        scheduler_specific_kwargs: Options of the schedule.

    Raises:
        UsageError: There is no such schedule, or it does not take these options.
    """
    from drivetrain.arguments import TrainingArguments

    args = TrainingArguments(
        lr_scheduler_type=str(name),
        lr_scheduler_kwargs=scheduler_specific_kwargs or {},
        report_to="none",
    )
    if num_training_steps is None and str(name) not in _ENDLESS:
        raise UsageError(
            f"`num_training_steps`: the schedule {str(name)!r} spans a run. Pass the number of its updates."
        )
    return load_scheduler(args).create(optimizer, num_warmup_steps or 0, num_training_steps or 0)


_ENDLESS = ("constant", "constant_with_warmup", "inverse_sqrt", "reduce_lr_on_plateau")

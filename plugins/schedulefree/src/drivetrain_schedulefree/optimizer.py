"""`schedule_free_adamw`, `schedule_free_radam` and `schedule_free_sgd`.

Gradients are computed at one set of weights; another one, a mean over all updates so far, is the one to
use. The optimizers' methods ``train`` and ``eval`` put the one or the other into the model, and the trainer
calls them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar

from schedulefree import AdamWScheduleFree, RAdamScheduleFree, SGDScheduleFree
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer

from drivetrain.plugin import AdamPlugin, OptimizerPlugin, hookimpl
from drivetrain_schedulefree import options

if TYPE_CHECKING:
    from drivetrain import Trainer, TrainerState

logger = logging.getLogger(__name__)

_CONSTANT = ("constant", "constant_with_warmup")
_HIGHEST_USELESS_BETA2 = 0.6
"""RAdam's second moment is never relied on with a memory of 2 / (1 - beta2) - 1 = 4 updates or fewer."""


class ScheduleFree(OptimizerPlugin):
    """What all three share.

    Attributes:
        optimizer: The class of the library.
    """

    optimizer: ClassVar[type[Optimizer]]
    paper = "The Road Less Scheduled, arXiv:2405.15682"
    suits = ("no schedule",)

    def build(self) -> tuple[type[Optimizer], dict[str, Any]]:
        """The optimizer of schedulefree and its keyword arguments."""
        return self.optimizer, {
            "lr": self.args.learning_rate,
            "weight_decay": self.args.weight_decay,  # for those who pass parameters without groups
            "r": self.options.r,
            "weight_lr_power": self.options.weight_lr_power,
            "foreach": self.options.foreach,
        }

    def create(self, model: nn.Module, groups: list[dict[str, Any]]) -> Optimizer:
        """Make the optimizer; say so if the model measures statistics of other weights than the used."""
        if any(
            isinstance(module, _BatchNorm) and module.track_running_stats for module in model.modules()
        ):
            logger.warning(
                "`optim`: %r evaluates and saves a mean of the weights, and the running statistics of the "
                "model's batch normalization are of other weights, those to train. Take nn.LayerNorm or "
                "nn.GroupNorm, or pass some data through the model in training mode before using it.",
                self.name,
            )
        return super().create(model, groups)

    def warnings(self) -> Iterable[str]:
        """Say that a schedule is not meant to come on top, too."""
        yield from super().warnings()
        schedule = self.args.lr_scheduler_type
        if schedule not in _CONSTANT:
            yield (
                f"`lr_scheduler_type`: {str(schedule)!r} changes the rate, and `optim`={self.name!r} is "
                "meant for one that stays as it is, whose weights are good at any update. "
                "Type lr_scheduler_type='constant'."
            )


class TakesAdamArguments(AdamPlugin, ScheduleFree):
    """Those of them that are variants of Adam."""

    def build(self) -> tuple[type[Optimizer], dict[str, Any]]:
        """The optimizer of schedulefree and its keyword arguments."""
        cls, kwargs = super().build()
        return cls, {**kwargs, **self.adam_arguments()}

    def problems(self) -> Iterable[str]:
        """Refuse a value that is divided by and 0, too."""
        yield from super().problems()
        if not self.args.adam_beta1 > 0.0 and self.options.betas is None:
            yield (
                f"`adam_beta1`: {self.args.adam_beta1} must be above 0 with `optim`={self.name!r}, which "
                "divides by it. Type adam_beta1=0.9, say."
            )


class WarmsUp(ScheduleFree):
    """Those of them that raise the rate themselves over the first updates.

    As in the published trainer, `warmup_steps` holds for the optimizer and for the schedule. With the
    schedule 'constant', which has no warm-up, that is one; with others the two multiply.
    """

    warms_up = True

    def build(self) -> tuple[type[Optimizer], dict[str, Any]]:
        """The optimizer of schedulefree and its keyword arguments."""
        cls, kwargs = super().build()
        return cls, {**kwargs, "warmup_steps": self._warmup_of(max(self.args.max_steps, 0))}

    @hookimpl
    def on_train_begin(self, trainer: Trainer, state: TrainerState) -> None:
        """Count `warmup_ratio` in updates, as their number is known now.

        A run that goes on keeps what it began with, which is in its checkpoint.
        """
        for group in trainer.optimizer.param_groups:
            if "warmup_steps" in group and group["k"] == 0:
                group["warmup_steps"] = self._warmup_of(state.max_steps)

    def warnings(self) -> Iterable[str]:
        """Say that two warm-ups multiply, too."""
        yield from super().warnings()
        schedule = self.args.lr_scheduler_type
        if schedule not in ("constant", "reduce_lr_on_plateau") and self._warmup_of(1_000):
            argument = "warmup_steps" if self.args.warmup_steps else "warmup_ratio"
            yield (
                f"`{argument}`: {getattr(self.args, argument)} holds for the schedule {str(schedule)!r} and "
                f"for `optim`={self.name!r}, which warms up by itself: together the rate rises with the "
                "square of the update. Type lr_scheduler_type='constant', or optim_args='warmup_steps=0'."
            )

    def _warmup_of(self, num_training_steps: int) -> int:
        own: int | None = self.options.warmup_steps
        return self.args.get_warmup_steps(num_training_steps) if own is None else own


class ScheduleFreeAdamW(TakesAdamArguments, WarmsUp):
    """Schedule-free AdamW: no momentum of gradients, and a mean of its iterates as the weights to use."""

    Options: ClassVar[type[Any]] = options.AdamWOptions
    optimizer = AdamWScheduleFree
    state_bytes = 8.0


class ScheduleFreeRAdam(TakesAdamArguments):
    """Schedule-free RAdam (arXiv:1908.03265), which needs no warm-up either."""

    Options: ClassVar[type[Any]] = options.RAdamOptions
    optimizer = RAdamScheduleFree
    state_bytes = 8.0

    def build(self) -> tuple[type[Optimizer], dict[str, Any]]:
        """The optimizer of schedulefree and its keyword arguments."""
        cls, kwargs = super().build()
        return cls, {**kwargs, "silent_sgd_phase": self.options.silent_sgd_phase}

    def problems(self) -> Iterable[str]:
        """Refuse a value with which no weight would ever change, too."""
        yield from super().problems()
        beta2 = self.adam_arguments()["betas"][1]
        if self.options.silent_sgd_phase and beta2 <= _HIGHEST_USELESS_BETA2:
            yield (
                f"`{'adam_beta2' if self.options.betas is None else 'optim_args'}`: with beta2={beta2}, "
                f"`optim`={self.name!r} never gets beyond the phase in which it leaves the weights alone. "
                "Type a beta2 above 0.6 (0.999, say), or optim_args='silent_sgd_phase=False'."
            )


class ScheduleFreeSGD(WarmsUp):
    """Schedule-free SGD: a mean of its iterates are the weights to use. Wants rates above plain SGD's."""

    Options: ClassVar[type[Any]] = options.SGDOptions
    optimizer = SGDScheduleFree
    state_bytes = 4.0
    unused_arguments = ("adam_beta1", "adam_beta2", "adam_epsilon")

    def build(self) -> tuple[type[Optimizer], dict[str, Any]]:
        """The optimizer of schedulefree and its keyword arguments."""
        cls, kwargs = super().build()
        return cls, {**kwargs, "momentum": self.options.momentum}

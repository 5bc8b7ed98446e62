"""The learning-rate schedules, with the names, options and values of the published ones.

They depend on no model, and their state is that of torch's `LambdaLR`: it moves to transformers'
Trainer and back.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, ReduceLROnPlateau

from drivetrain.plugin import SchedulerPlugin, UsageError
from drivetrain_torch import curves
from drivetrain_torch.curves import after_warmup
from drivetrain_torch.scheduler_options import (
    CosineOptions,
    InverseSqrtOptions,
    MinLROptions,
    PlateauOptions,
    PolynomialOptions,
    RestartsOptions,
    WarmupMinLROptions,
    WarmupStableDecayOptions,
)

logger = logging.getLogger(__name__)


class Linear(SchedulerPlugin):
    """Warm up, then fall linearly to 0."""

    def create(
        self, optimizer: Optimizer, num_warmup_steps: int, num_training_steps: int
    ) -> LRScheduler:
        curve = curves.linear(num_warmup_steps, num_training_steps)
        return LambdaLR(optimizer, after_warmup(num_warmup_steps, curve))


class Cosine(SchedulerPlugin):
    """Warm up, then fall to 0 along half a cosine."""

    Options = CosineOptions

    def create(
        self, optimizer: Optimizer, num_warmup_steps: int, num_training_steps: int
    ) -> LRScheduler:
        curve = curves.cosine(num_warmup_steps, num_training_steps, self.options.num_cycles)
        return LambdaLR(optimizer, after_warmup(num_warmup_steps, curve))


class CosineWithRestarts(SchedulerPlugin):
    """Warm up, then fall to 0 along half a cosine, several times."""

    Options = RestartsOptions

    def create(
        self, optimizer: Optimizer, num_warmup_steps: int, num_training_steps: int
    ) -> LRScheduler:
        curve = curves.cosine_with_restarts(
            num_warmup_steps, num_training_steps, self.options.num_cycles
        )
        return LambdaLR(optimizer, after_warmup(num_warmup_steps, curve))


class Polynomial(SchedulerPlugin):
    """Warm up, then fall to ``lr_end`` along a power of the share of steps that remain."""

    Options = PolynomialOptions

    def problems(self) -> Iterable[str]:
        yield from self._check(self.args.learning_rate)

    def create(
        self, optimizer: Optimizer, num_warmup_steps: int, num_training_steps: int
    ) -> LRScheduler:
        lr = optimizer.defaults["lr"]
        for problem in self._check(lr):
            raise UsageError(problem)
        curve = curves.polynomial(
            num_warmup_steps, num_training_steps, lr, self.options.lr_end, self.options.power
        )
        return LambdaLR(optimizer, after_warmup(num_warmup_steps, curve))

    def _check(self, lr: float) -> Iterable[str]:
        if not lr > self.options.lr_end:
            yield (
                f"`lr_scheduler_kwargs`: lr_end={self.options.lr_end} is where the rate falls to, and must "
                f"be below `learning_rate`={lr}. Type lr_scheduler_kwargs={{'lr_end': {lr / 100}}}, say."
            )


class Constant(SchedulerPlugin):
    """Stay at `learning_rate` from the first update."""

    warms_up = False

    def create(
        self, optimizer: Optimizer, num_warmup_steps: int, num_training_steps: int
    ) -> LRScheduler:
        return LambdaLR(optimizer, curves.constant())


class ConstantWithWarmup(SchedulerPlugin):
    """Warm up, then stay at `learning_rate`."""

    def create(
        self, optimizer: Optimizer, num_warmup_steps: int, num_training_steps: int
    ) -> LRScheduler:
        return LambdaLR(optimizer, after_warmup(num_warmup_steps, curves.constant()))


class InverseSqrt(SchedulerPlugin):
    """Warm up, then fall with the square root of the number of updates."""

    Options = InverseSqrtOptions

    def create(
        self, optimizer: Optimizer, num_warmup_steps: int, num_training_steps: int
    ) -> LRScheduler:
        timescale = self.options.timescale or num_warmup_steps or 10_000
        return LambdaLR(
            optimizer, after_warmup(num_warmup_steps, curves.inverse_sqrt(num_warmup_steps, timescale))
        )


class CosineWithMinLR(SchedulerPlugin):
    """Warm up, then fall along half a cosine to a rate above 0."""

    Options = MinLROptions

    def create(
        self, optimizer: Optimizer, num_warmup_steps: int, num_training_steps: int
    ) -> LRScheduler:
        floor = self.options.find_rate(optimizer.defaults["lr"])
        curve = curves.cosine(num_warmup_steps, num_training_steps, self.options.num_cycles, floor)
        return LambdaLR(optimizer, after_warmup(num_warmup_steps, curve))


class CosineWarmupWithMinLR(SchedulerPlugin):
    """Warm up from a rate above 0, then fall along half a cosine to a rate above 0."""

    Options = WarmupMinLROptions

    def create(
        self, optimizer: Optimizer, num_warmup_steps: int, num_training_steps: int
    ) -> LRScheduler:
        curve = curves.early_cosine(
            num_warmup_steps,
            num_training_steps,
            num_cycles=self.options.num_cycles,
            min_lr_rate=self.options.find_rate(optimizer.defaults["lr"]),
            warmup_lr_rate=self.options.warmup_lr_rate,
        )
        return LambdaLR(optimizer, curve)


class WarmupStableDecay(SchedulerPlugin):
    """Warm up, stay at `learning_rate`, fall at the end: three phases with lengths of their own."""

    Options = WarmupStableDecayOptions

    def create(
        self, optimizer: Optimizer, num_warmup_steps: int, num_training_steps: int
    ) -> LRScheduler:
        options = self.options
        num_stable_steps = options.num_stable_steps
        if num_stable_steps is None:
            num_stable_steps = num_training_steps - num_warmup_steps - options.num_decay_steps
        num_planned_steps = num_warmup_steps + num_stable_steps + options.num_decay_steps
        if num_stable_steps < 0 or num_planned_steps != num_training_steps:
            logger.warning(
                "`lr_scheduler_kwargs`: %d updates of warm-up, %d at a stable rate and %d of decay do not "
                "make up the run's %d. Leave num_stable_steps out, and type a num_decay_steps of at most %d.",
                num_warmup_steps,
                num_stable_steps,
                options.num_decay_steps,
                num_training_steps,
                max(0, num_training_steps - num_warmup_steps),
            )
        curve = curves.warmup_stable_decay(
            num_warmup_steps,
            num_stable_steps,
            options.num_decay_steps,
            warmup_type=options.warmup_type,
            decay_type=options.decay_type,
            min_lr_ratio=options.min_lr_ratio,
            num_cycles=options.num_cycles,
        )
        return LambdaLR(optimizer, curve)


class ReduceOnPlateau(SchedulerPlugin):
    """Lower the rate when the metric of the evaluations stops getting better: `ReduceLROnPlateau`."""

    Options = PlateauOptions
    steps_on_metric = True
    warms_up = False

    def create(
        self, optimizer: Optimizer, num_warmup_steps: int, num_training_steps: int
    ) -> LRScheduler:
        return ReduceLROnPlateau(optimizer, **self.options.keywords())

    def problems(self) -> Iterable[str]:
        if self.args.eval_strategy == "no":
            yield (
                f"`lr_scheduler_type`: {self.name!r} follows the metric of the evaluations, and "
                "`eval_strategy` is 'no'. Type eval_strategy='epoch'."
            )

    def warnings(self) -> Iterable[str]:
        yield from super().warnings()
        metric, is_greater_better = self.args.metric_for_best_model, bool(self.args.greater_is_better)
        if is_greater_better != (self.options.mode == "max"):
            better, mode = ("more", "max") if is_greater_better else ("less", "min")
            yield (
                f"`lr_scheduler_kwargs`: mode={self.options.mode!r} lowers the rate when {metric!r} gets "
                f"better, of which {better} is better (`greater_is_better`). Type "
                f"lr_scheduler_kwargs={{'mode': {mode!r}}}."
            )

"""One sound schedule, and some that have one fault each."""

from __future__ import annotations

from dataclasses import dataclass

from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from drivetrain.plugin import SchedulerPlugin


@dataclass(frozen=True)
class Floor:
    floor: float = 0.0

    def __post_init__(self):
        if not 0 <= self.floor < 1:
            raise ValueError(f"floor={self.floor} must be in [0, 1): type 0.1, say.")


class Sound(SchedulerPlugin):
    """Falls in a straight line to a floor, without a fault."""

    Options = Floor

    def create(self, optimizer, num_warmup_steps, num_training_steps):
        return LambdaLR(optimizer, lambda step: self.height(step, num_warmup_steps, num_training_steps))

    def height(self, step, warmup, total):
        if step < warmup:
            return step / warmup
        share = min(1.0, (step - warmup) / max(1, total - warmup))
        return 1 - share * (1 - self.options.floor)


class OneStepAhead(Sound):
    """It is a step ahead of its formula."""

    def height(self, step, warmup, total):
        return super().height(step + 1, warmup, total)


class DividesByZero(Sound):
    """It forgets that a run may be all warm-up."""

    def height(self, step, warmup, total):
        return step / warmup if step < warmup else 1 - (step - warmup) / (total - warmup)


class GoesBelowZero(Sound):
    """It falls on after the end."""

    def height(self, step, warmup, total):
        return step / warmup if step < warmup else 1 - (step - warmup) / max(1, total - warmup)


class DropsOption(Sound):
    """It has an option without a use."""

    def height(self, step, warmup, total):
        return step / warmup if step < warmup else max(0.0, 1 - (step - warmup) / max(1, total - warmup))


class OneRate(LRScheduler):
    def get_lr(self):
        first = self.base_lrs[0] * 0.9**self.last_epoch
        return [first for _ in self.base_lrs]


class SameForAll(Sound):
    """It gives every group the rate of the first."""

    def create(self, optimizer, num_warmup_steps, num_training_steps):
        return OneRate(optimizer)


class Wanders(LRScheduler):
    def __init__(self, optimizer):
        self.seen = []
        super().__init__(optimizer)

    def get_lr(self):
        self.seen.append(len(self.seen))
        return [rate / (1 + sum(self.seen)) for rate in self.base_lrs]

    def state_dict(self):
        return {"last_epoch": self.last_epoch, "base_lrs": self.base_lrs}


class LosesState(Sound):
    """What its rate depends on is not in its state."""

    def create(self, optimizer, num_warmup_steps, num_training_steps):
        return Wanders(optimizer)

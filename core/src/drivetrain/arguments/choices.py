"""Arguments with a closed set of values."""

from __future__ import annotations

from enum import Enum


class Choice(str, Enum):
    """An enum whose members are their values: ``IntervalStrategy.STEPS == "steps"``."""

    def __str__(self) -> str:
        return str(self.value)


class IntervalStrategy(Choice):
    """When something is done during training."""

    NO = "no"
    STEPS = "steps"
    EPOCH = "epoch"


class SaveStrategy(Choice):
    """When a checkpoint is saved."""

    NO = "no"
    STEPS = "steps"
    EPOCH = "epoch"
    BEST = "best"

"""Callbacks that note what a run does."""

from __future__ import annotations

from typing import Any

from drivetrain.callbacks import TrainerCallback
from drivetrain.testing.steps import Weights, weights_of
from drivetrain.trainer import Trainer


class Rates(TrainerCallback):
    """Notes the rates of all groups after each step of the optimizer, before the schedule moves on.

    Attributes:
        trainer: The trainer, to be set before it trains.
        seen: The rates, a list for each update.
    """

    def __init__(self) -> None:
        self.trainer: Trainer | None = None
        self.seen: list[list[float]] = []

    def on_optimizer_step(self, *_: Any, **__: Any) -> None:
        """Note them."""
        assert self.trainer is not None
        self.seen.append(self.trainer.get_learning_rates())


class WeightsAtSteps(TrainerCallback):
    """Notes the weights after each update.

    Attributes:
        at: The weights, by the number of updates made.
    """

    def __init__(self) -> None:
        self.at: dict[int, Weights] = {}

    def on_step_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Note them."""
        self.at[state.global_step] = weights_of(given["model"])


class EndsAtStep(TrainerCallback):
    """Raises an error after an update."""

    def __init__(self, step: int, error: BaseException) -> None:
        self.step = step
        self.error = error

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Raise it, if it is time."""
        if state.global_step == self.step:
            raise self.error


def without_times(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What a run logged, but for how long things took."""
    times = ("runtime", "per_second")
    return [{k: v for k, v in entry.items() if not k.endswith(times)} for entry in history]

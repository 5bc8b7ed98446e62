"""How fast a run goes of late, and when it will be over."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING

from drivetrain.arguments.choices import IntervalStrategy

if TYPE_CHECKING:
    from drivetrain.arguments import TrainingArguments
    from drivetrain.state import TrainerState

EVALUATION = "evaluation"
SAVE = "save"

_SECONDS_BETWEEN_MARKS = 0.5
_NUM_MARKS = 60  # the last half minute, or the last sixty updates if these are slow


class Pace:
    """Counts how many updates are made a second, and what is done between them.

    Evaluations and saves are counted by themselves: none of them passes for a slow update. Nor does the
    first update, which compiles and allocates: the updates' clock starts after it.
    """

    def __init__(self) -> None:
        self._marks: deque[tuple[float, int]] = deque(maxlen=_NUM_MARKS)
        self._mark_at = 0.0
        self._began = self._latest = time.monotonic()
        self._ended = 0.0
        self._set_aside = 0.0
        self._asides: dict[str, dict[int, float]] = {}

    def note_update(self, step: int) -> float:
        """An update is done; returns the time, in seconds."""
        now = self._latest = time.monotonic()
        if now >= self._mark_at:
            self._mark_at = now + _SECONDS_BETWEEN_MARKS
            self._marks.append((now - self._set_aside, step))
        return now

    def set_aside(self, what: str, step: int) -> None:
        """Something else was done since the last update: it counts as that."""
        now = time.monotonic()
        spent, self._latest = now - self._latest, now
        self._set_aside += spent
        at_steps = self._asides.setdefault(what, {})
        at_steps[step] = at_steps.get(step, 0.0) + spent  # one evaluation may be of several data sets

    def end_training(self) -> None:
        """Note that training is over; what comes now is waiting for reporters."""
        self._ended = time.monotonic()

    @property
    def elapsed(self) -> float:
        """Seconds since the run began, until training was over."""
        return (self._ended or time.monotonic()) - self._began

    @property
    def since_training(self) -> float:
        """Seconds since training was over; 0 if it is not."""
        return time.monotonic() - self._ended if self._ended else 0.0

    @property
    def updates_per_second(self) -> float | None:
        """How many updates were made a second lately; None as long as that cannot be said."""
        if len(self._marks) < 2:
            return None
        (began, first), (ended, last) = self._marks[0], self._marks[-1]
        return (last - first) / (ended - began) if ended > began and last > first else None

    def seconds_left(self, num_updates: int, to_come: Mapping[str, int]) -> float | None:
        """Seconds that so many updates will take, and so many of the other things.

        Args:
            num_updates: The updates that are left.
            to_come: How often each thing that was set aside will be done again.
        """
        rate = self.updates_per_second
        if rate is None:
            return None
        return num_updates / rate + sum(
            to_come.get(what, 0) * sum(at_steps.values()) / len(at_steps)
            for what, at_steps in self._asides.items()
        )


def num_to_come(args: TrainingArguments, state: TrainerState) -> dict[str, int]:
    """How many evaluations and saves the rest of a run will have."""
    return {
        EVALUATION: _num_left(args.eval_strategy, state.eval_steps, state),
        SAVE: _num_left(args.save_strategy, state.save_steps, state),
    }


def _num_left(strategy: object, interval: int, state: TrainerState) -> int:
    step, max_steps = state.global_step, state.max_steps
    if strategy == IntervalStrategy.STEPS and interval:
        return max_steps // interval - step // interval
    if strategy == IntervalStrategy.EPOCH and step and state.epoch:
        num_epochs = state.epoch * max_steps / step
        return math.ceil(num_epochs - 1e-6) - math.floor(state.epoch + 1e-6)
    return 0

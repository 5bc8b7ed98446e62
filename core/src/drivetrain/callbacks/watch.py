"""What is known of a run while it goes on, without reading anything from its device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from drivetrain.callbacks.pace import Pace, num_to_come
from drivetrain.callbacks.wording import clock, rough

if TYPE_CHECKING:
    from drivetrain.arguments import TrainingArguments
    from drivetrain.state import TrainerState
    from drivetrain.trainer import Trainer

_LEFT_OUT_FIRST = ("lr", "epoch", "rate", "loss")


class Watch:
    """Watches a run for whoever shows it.

    Args:
        trainer: The trainer, if it is known: for how many samples an update has, and tokens a second.

    Attributes:
        pace: How fast the run goes.
        is_over: Whether the run has ended, so that no time is left.
    """

    def __init__(self, trainer: Trainer | None) -> None:
        self.pace = Pace()
        self.is_over = False
        loop = None if trainer is None else trainer.training_loop
        self._samples_per_update = 0 if loop is None else loop.plan.total_batch_size
        self._measurements = None if trainer is None else trainer.measurements
        self._tokens_per_second: float | None = None
        self._logged: dict[str, str] = {}

    def note_log(self, logs: Mapping[str, Any], step: int) -> None:
        """Keep what is shown of a log until the next."""
        if "loss" in logs and self._measurements is not None:
            measured = self._measurements.values(step)
            self._tokens_per_second = measured.get("perf/tokens_per_second")
        for name, key in (("loss", "loss"), ("lr", "learning_rate")):
            if isinstance(logs.get(key), (float, int)):
                self._logged[name] = f"{name} {logs[key]:.3g}"

    def figures(self, args: TrainingArguments, state: TrainerState) -> dict[str, str]:
        """Epoch, loss, learning rate, speed and time left, as far as they are known; by name."""
        found = {"epoch": f"epoch {state.epoch or 0:.2f}", **self._logged}
        speed, left = self.speed(), self.time_left(args, state)
        found |= {"rate": speed} if speed else {}
        found |= {"left": left} if left else {}
        return found

    def speed(self) -> str:
        """Tokens a second as of the last log, or else samples a second lately."""
        if self._tokens_per_second is not None:
            return f"{rough(self._tokens_per_second)} tokens/s"
        rate = self.pace.updates_per_second
        if rate is None:
            return ""
        if not self._samples_per_update:
            return f"{rough(rate)} steps/s"
        return f"{rough(rate * self._samples_per_update)} samples/s"

    def time_left(self, args: TrainingArguments, state: TrainerState) -> str:
        """What the updates, evaluations and saves that are left will take."""
        num_updates = 0 if self.is_over else state.max_steps - state.global_step
        seconds = self.pace.seconds_left(num_updates, num_to_come(args, state))
        return "" if seconds is None or num_updates <= 0 else f"{clock(seconds)} left"


def fit(figures: Mapping[str, str], width: int) -> str:
    """The figures that fit into so many characters, with a comma before each; time left goes last."""
    kept = dict(figures)
    for name in _LEFT_OUT_FIRST:
        if len(_join(kept)) <= width:
            break
        kept.pop(name, None)
    return _join(kept)


def _join(figures: Mapping[str, str]) -> str:
    return "".join(f", {text}" for text in figures.values())

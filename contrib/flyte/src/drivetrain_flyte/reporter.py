"""Shows what a run logs in a deck of the Flyte task that it is in, and keeps its checkpoints there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drivetrain.plugin import (
    Image,
    Outcome,
    ReporterPlugin,
    Run,
    UsageError,
    as_number,
    find_missing_library,
)
from drivetrain_flyte.history import History
from drivetrain_flyte.task import Task, find_task

if TYPE_CHECKING:
    from drivetrain import TrainingArguments

DECK_NAME = "Log History"
"""What the deck is called that the published trainer's callback makes."""


@dataclass(frozen=True)
class FlyteOptions:
    """The options of `flyte`."""

    save_log_history: bool = field(
        default=True, metadata={"help": "Show what is logged in a deck of the task."}
    )
    sync_checkpoints: bool = field(
        default=True,
        metadata={"help": "Upload each checkpoint, for the task to go on if it is retried."},
    )


class Flyte(ReporterPlugin):
    """A table of what is logged as a deck; checkpoints in Flyte's own place for those.

    It is for a training within a task, which it looks for when the arguments are made. A run that resumes in
    the task that it began in goes on with its deck; a task that is retried has decks of its own, which show
    what was logged since.
    """

    Options = FlyteOptions
    unused_arguments = ("project",)

    def __init__(self, args: TrainingArguments, options: Any = None) -> None:
        super().__init__(args, options)
        self._task: Task | None = None
        self._history: History | None = None
        self._deck_name = ""

    @property
    def takes_checkpoints(self) -> bool:  # type: ignore[override]
        """Whether they are wanted and Flyte has a place for them."""
        task = self._task
        return self.options.sync_checkpoints and task is not None and task.checkpoint is not None

    def problems(self) -> Iterable[str]:
        """Refuse to report from outside of a task."""
        if missing := list(find_missing_library("flyte", "flytekit", "flytekit")):
            yield from missing
        elif find_task() is None:
            yield (
                "`report_to`: 'flyte' reports to the Flyte task that the training is in, and this is none. "
                "Make the arguments and train in a function with @flytekit.task(enable_deck=True)."
            )

    def warnings(self) -> Iterable[str]:
        """Say that a task without decks shows none."""
        yield from super().warnings()
        task = find_task()
        if task is not None and self.options.save_log_history and not task.has_decks:
            yield (
                "`report_to`: 'flyte' shows nothing in this task, which has no decks. Type: "
                "@flytekit.task(enable_deck=True)"
            )

    def prepare(self) -> None:
        """Look which task this is: other threads cannot."""
        self._task = find_task()

    def open(self, run: Run) -> None:
        """Add a deck, unless this goes on with a run that has one."""
        if self._task is None:
            self.prepare()
        if self._task is None:
            raise UsageError(
                "`report_to`: 'flyte' is for training in a Flyte task, in the thread that executes it."
            )
        name = run.state.get("deck") or (self._deck_name if run.start_step > 0 else "")
        history = self._task.find_history(name)
        if history is None:
            history = History(run.name, run.config, run.facts)
            if self.options.save_log_history:
                self._deck_name = self._task.add_history(DECK_NAME, history)
        else:
            self._deck_name = name
            history.forget_later_steps(run.start_step)
        self._history = history

    def log(self, values: Mapping[str, Any], step: int) -> None:
        """Add a row to the deck."""
        assert self._history is not None, "`log` before `open`"
        row: dict[str, float | int | str] = {}
        for name, value in values.items():
            number = as_number(value)
            if number is not None or isinstance(value, str):
                row[name] = value if number is None else number
            elif isinstance(value, Image):
                self._history.add_image(name, step, value)
            else:
                self.leave_out(name, value)
        if row:
            self._history.add(row, step)

    def log_checkpoint(self, folder: Path, step: int) -> None:
        """Upload it, over the one before."""
        assert self._task is not None, "`log_checkpoint` before `open`"
        self._task.save_checkpoint(folder)

    def close(self, outcome: Outcome) -> None:
        """Note how the run ended."""
        if self._history is not None:
            self._history.outcome = outcome

    def state(self) -> Mapping[str, Any]:
        """The name of the deck."""
        return {"deck": self._deck_name} if self._deck_name else {}

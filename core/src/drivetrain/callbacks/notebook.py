"""The callback that shows progress in a notebook: a bar, a table of metrics, a bar for evaluations."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from drivetrain.arguments.choices import IntervalStrategy
from drivetrain.callbacks import pace, summary
from drivetrain.callbacks.callback import TrainerCallback
from drivetrain.callbacks.notebook_page import Bar, MetricsTable, Page
from drivetrain.callbacks.printer import format_logs
from drivetrain.callbacks.surroundings import is_in_notebook
from drivetrain.callbacks.watch import Watch
from drivetrain.data.lengths import length_of
from drivetrain.hookspecs import hookimpl

if TYPE_CHECKING:
    from drivetrain.arguments import TrainingArguments
    from drivetrain.plugin.reporter import Outcome
    from drivetrain.state import TrainerControl, TrainerState
    from drivetrain.trainer import Trainer


class NotebookProgressCallback(TrainerCallback):
    """Shows how far a run is as one output of a notebook's cell, with the metrics as a table.

    The table has a row for each update after which something was logged; a run that is resumed shows
    those from before, too. Frontends without HTML get text. Outside a notebook logs are printed.
    """

    def __init__(self) -> None:
        self.page: Page | None = None
        self._trainer: Trainer | None = None
        self._watch: Watch | None = None
        self._metrics: dict[str, Any] = {}

    @hookimpl
    def on_stage_begin(self, trainer: Trainer, stage: str) -> None:
        """Note who trains."""
        if stage == "train":
            self._trainer = trainer

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Say what runs, and open the page at the update that the run starts from."""
        self._close()
        if not state.is_world_process_zero or not is_in_notebook():
            return
        table = MetricsTable(_first_column(args))
        for entry in state.log_history:
            table.add(entry)
        opening = [] if self._trainer is None else summary.opening_lines(self._trainer)
        self._watch, self._metrics = Watch(self._trainer), {}
        bar = Bar("train", state.max_steps, start=state.global_step, done=state.global_step)
        bar.figures = partial(_figures, self._watch, args, state)
        self.page = Page(bar, table, opening)
        self.page.show()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Move the bar to the update that is done."""
        if self._watch is not None:
            self._watch.pace.note_update(state.global_step)
        if self.page is not None and self.page.training is not None:
            self.page.training.done = state.global_step
            self.page.show()

    def on_prediction_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Move the evaluation's bar, or open it."""
        if not state.is_world_process_zero or not is_in_notebook():
            return
        if self.page is None:
            self.page = Page()
        if self.page.evaluation is None:
            total = length_of(kwargs.get("eval_dataloader"))
            self.page.evaluation = Bar("evaluate", total, start=1, done=1)
        else:
            self.page.evaluation.done += 1
        self.page.show()

    @hookimpl
    def on_evaluation_end(self) -> None:
        """Take the evaluation's bar away if training goes on, or leave it as it is at last."""
        if self.page is None:
            return
        if self.page.training is None:
            self._close()
        else:
            self.page.evaluation = None
            self.page.show()

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """The same, for an evaluation that a subclass does in its own way; updates go on from here."""
        self.on_evaluation_end()
        if self._watch is not None:
            self._watch.pace.set_aside(pace.EVALUATION, state.global_step)

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Updates go on from here, if they waited for it."""
        if self._watch is not None and not args.async_save:
            self._watch.pace.set_aside(pace.SAVE, state.global_step)

    def on_predict(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: Any,
        **kwargs: Any,
    ) -> None:
        """The same, for a prediction."""
        self.on_evaluation_end()

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Put the values into the table."""
        logs = kwargs["logs"]
        if self._watch is not None:
            self._watch.note_log(logs, state.global_step)
        if "train_runtime" in logs:
            self._metrics = logs
        if self.page is not None and self.page.table is not None:
            self.page.table.add({**logs, "step": state.global_step, "epoch": state.epoch})
            self.page.show()
        elif state.is_world_process_zero and not is_in_notebook():
            print(format_logs(logs), flush=True)

    @hookimpl
    def on_run_end(self, trainer: Trainer, outcome: Outcome, error: BaseException | None) -> None:
        """Say how it ended, and show the page for the last time."""
        if self.page is not None and self.page.training is not None and self._watch is not None:
            self._watch.is_over = True
            self.page.training.note = "" if outcome == "finished" else outcome
            pace = self._watch.pace
            line = summary.closing_line(trainer, outcome, error, pace, self._metrics)
            self.page.closing = [line]
        self._close()
        self._trainer = None

    def _close(self) -> None:
        if self.page is not None:
            self.page.show(at_once=True)
        self.page = self._watch = None


def _figures(watch: Watch, args: TrainingArguments, state: TrainerState) -> list[str]:
    """What is said beside the bar; the rest is in the table."""
    figures = watch.figures(args, state)
    return [figures[name] for name in ("epoch", "lr", "rate", "left") if name in figures]


def _first_column(args: TrainingArguments) -> str:
    """Epochs if that is when metrics come, else steps."""
    is_evaluating = args.eval_strategy != IntervalStrategy.NO
    interval = args.eval_strategy if is_evaluating else args.logging_strategy
    return "epoch" if interval == IntervalStrategy.EPOCH else "step"

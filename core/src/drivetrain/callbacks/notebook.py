"""The callback that shows progress in a notebook: a bar, a table of metrics, a bar for evaluations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from drivetrain.arguments.choices import IntervalStrategy
from drivetrain.callbacks.callback import TrainerCallback
from drivetrain.callbacks.notebook_page import Bar, MetricsTable, Page
from drivetrain.callbacks.printer import format_logs
from drivetrain.callbacks.surroundings import is_in_notebook
from drivetrain.data.lengths import length_of
from drivetrain.hookspecs import hookimpl

if TYPE_CHECKING:
    from drivetrain.arguments import TrainingArguments
    from drivetrain.plugin.reporter import Outcome
    from drivetrain.state import TrainerControl, TrainerState


class NotebookProgressCallback(TrainerCallback):
    """Shows how far a run is as one output of a notebook's cell, with the metrics as a table.

    The table has a row for each update after which something was logged; a run that is resumed shows
    those from before, too. Frontends without HTML get text. Outside a notebook logs are printed.
    """

    def __init__(self) -> None:
        self.page: Page | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Open the page at the update that the run starts from."""
        self._close()
        if not state.is_world_process_zero or not is_in_notebook():
            return
        table = MetricsTable(_first_column(args))
        for entry in state.log_history:
            table.add(entry)
        bar = Bar("train", state.max_steps, start=state.global_step, done=state.global_step)
        self.page = Page(bar, table)
        self.page.show()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Move the bar to the update that is done."""
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
        """The same, for an evaluation that a subclass does in its own way."""
        self.on_evaluation_end()

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
        if self.page is not None and self.page.table is not None:
            self.page.table.add({**logs, "step": state.global_step, "epoch": state.epoch})
            self.page.show()
        elif state.is_world_process_zero and not is_in_notebook():
            print(format_logs(logs), flush=True)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Show the page for the last time."""
        self._close()

    @hookimpl
    def on_run_end(self, outcome: Outcome) -> None:
        """The same if an error ended the run, and say that it did."""
        if self.page is not None and self.page.training is not None:
            self.page.training.note = outcome
        self._close()

    def _close(self) -> None:
        if self.page is not None:
            self.page.show(at_once=True)
            self.page = None


def _first_column(args: TrainingArguments) -> str:
    """Epochs if that is when metrics come, else steps."""
    is_evaluating = args.eval_strategy != IntervalStrategy.NO
    interval = args.eval_strategy if is_evaluating else args.logging_strategy
    return "epoch" if interval == IntervalStrategy.EPOCH else "step"

"""The callback that shows how far a run is: with bars on a terminal, else with a line now and then."""

from __future__ import annotations

import contextlib
import math
import sys
from typing import TYPE_CHECKING, Any

from drivetrain.callbacks.callback import TrainerCallback
from drivetrain.callbacks.surroundings import is_on_terminal
from drivetrain.callbacks.wording import stage_line, stage_of, step_line, values_line
from drivetrain.data.lengths import length_of
from drivetrain.hookspecs import hookimpl
from drivetrain.later import Later

if TYPE_CHECKING:
    from drivetrain.arguments import TrainingArguments
    from drivetrain.callbacks import pace, summary, watch
    from drivetrain.plugin.reporter import Outcome
    from drivetrain.state import TrainerControl, TrainerState
    from drivetrain.trainer import Trainer
else:
    pace = Later("drivetrain.callbacks.pace")
    summary = Later("drivetrain.callbacks.summary")
    watch = Later("drivetrain.callbacks.watch")

_BAR = "{l_bar}{bar:16}| {n_fmt}/{total_fmt}"
_WIDTH_OF_BAR = 16 + len("train: 100%|| /")


class ProgressCallback(TrainerCallback):
    """Shows how far training and evaluation are, with the values that were logged last.

    On a terminal that is a bar for training, and below it one for an evaluation while it lasts; what is
    logged is written above. Elsewhere, in a cluster's log file say, each log is a line, and nothing
    else is shown. It all goes to standard error, from the first process, and reads nothing from the
    device: values in the bar are those of the last log.

    Args:
        max_str_len: Characters of a logged text that are shown.
    """

    def __init__(self, max_str_len: int = 100) -> None:
        self.max_str_len = max_str_len
        self.training_bar: Any = None
        self.prediction_bar: Any = None
        self._trainer: Trainer | None = None
        self._watch: watch.Watch | None = None
        self._metrics: dict[str, Any] = {}
        self._refresh_at = 0.0

    @hookimpl
    def on_stage_begin(self, trainer: Trainer, stage: str) -> None:
        """Note who trains."""
        if stage == "train":
            self._trainer = trainer

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Say what runs, and open the bar at the update that the run starts from."""
        self._close_training_bar()
        if not state.is_world_process_zero:
            return
        if self._trainer is not None:
            self._say(*summary.opening_lines(self._trainer))
        self._watch, self._metrics = watch.Watch(self._trainer), {}
        self.training_bar = _make_bar("train", state.max_steps, state.global_step)
        self._refresh_at = math.inf if self.training_bar.disable else 0.0

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Move the bar to the update that is done, a few times a second."""
        if self._watch is not None:
            now = self._watch.pace.note_update(state.global_step)
            if now >= self._refresh_at:
                self._refresh_at = now + self.training_bar.mininterval
                self._take_figures(args, state)
                self.training_bar.refresh()
        elif self.training_bar is not None:  # that a subclass made
            self.training_bar.update(state.global_step - self.training_bar.n)

    def on_prediction_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Move the evaluation's bar, or open it."""
        if not state.is_world_process_zero:
            return
        if self.prediction_bar is None:
            total = length_of(kwargs.get("eval_dataloader"))
            self.prediction_bar = _make_bar("evaluate", total, 0, leave=False)
        self.prediction_bar.update(1)

    @hookimpl
    def on_evaluation_end(self) -> None:
        """Close the evaluation's bar, also if it failed."""
        self._close_prediction_bar()

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """The same, for an evaluation that a subclass does in its own way; updates go on from here."""
        self._close_prediction_bar()
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
        """Close the prediction's bar, and show what came of it, which is not logged."""
        self._close_prediction_bar()
        if state.is_world_process_zero:
            self._say(stage_line(metrics, self.max_str_len))

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Write the values on a line, and keep the loss for the bar."""
        if not state.is_world_process_zero:
            return
        logs = kwargs["logs"]
        if stage_of(logs) == "train":  # the closing line has most of it
            self._metrics, logs = logs, summary.further_metrics(logs)
        elif self._watch is not None:
            self._watch.note_log(logs, state.global_step)
            self._take_figures(args, state)
        if logs:
            self._say(self._line(args, state, logs))

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Close the bar, where training ended."""
        if self._watch is not None:
            self._watch.pace.end_training()
        self._take_figures(args, state)
        self._close_training_bar()

    @hookimpl
    def on_run_end(self, trainer: Trainer, outcome: Outcome, error: BaseException | None) -> None:
        """Say how it ended; close what is open, if an error ended the run."""
        self._close_prediction_bar()
        if self._watch is not None:
            self._watch.is_over = True
            self._take_figures(trainer.args, trainer.state)
        self._close_training_bar()
        if self._watch is not None:
            pace = self._watch.pace
            self._say(summary.closing_line(trainer, outcome, error, pace, self._metrics))
        self._trainer = self._watch = None

    def _line(self, args: TrainingArguments, state: TrainerState, logs: dict[str, Any]) -> str:
        """A log as a line; one of training with how fast it is and what is left of it."""
        is_training, is_stage = self._watch is not None, stage_of(logs) is not None
        where = step_line(state) if is_training else ""
        if is_stage:
            return ", ".join(filter(None, (where, stage_line(logs, self.max_str_len))))
        parts = [values_line(logs, self.max_str_len)]
        if self._watch is not None and "loss" in logs:
            figures = self._watch.figures(args, state)
            parts += [figures[name] for name in ("rate", "left") if name in figures]
        return ": ".join(filter(None, (where, ", ".join(parts))))

    def _take_figures(self, args: TrainingArguments, state: TrainerState) -> None:
        """Have the bar show where the run is, when it is drawn next."""
        bar = self.training_bar
        if bar is None or self._watch is None or bar.disable:
            return
        bar.n = state.global_step
        width = (bar.format_dict["ncols"] or 80) - _WIDTH_OF_BAR - 2 * len(str(state.max_steps))
        figures = watch.fit(self._watch.figures(args, state), width)
        bar.bar_format = f"{_BAR}{figures}{{postfix}}"  # which is for subclasses

    def _say(self, *lines: str) -> None:
        """Write lines to standard error, above the bars if there are any."""
        from tqdm import tqdm

        if sys.stderr is None:
            return
        with contextlib.suppress(OSError, ValueError):  # whoever read it is gone; that ends no run
            for line in lines:
                tqdm.write(line, file=sys.stderr)
            sys.stderr.flush()

    def _close_training_bar(self) -> None:
        if self.training_bar is not None:
            self.training_bar.close()
            self.training_bar = None

    def _close_prediction_bar(self) -> None:
        if self.prediction_bar is not None:
            self.prediction_bar.close()
            self.prediction_bar = None


def _make_bar(what: str, total: int | None, initial: int, leave: bool = True) -> Any:
    """A bar, which is not drawn where there is no terminal."""
    from tqdm import tqdm  # a tenth of a second that a run without bars does not spend

    remaining = "" if what == "train" else ", {remaining} left"
    return tqdm(
        total=total,
        initial=initial,
        desc=what,
        unit="step",
        dynamic_ncols=True,
        leave=leave,
        bar_format=f"{_BAR}{remaining}{{postfix}}",
        disable=not is_on_terminal(),
    )

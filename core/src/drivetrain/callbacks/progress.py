"""The callback that shows progress bars: one for training, one for each evaluation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from drivetrain.callbacks.callback import TrainerCallback
from drivetrain.callbacks.printer import format_logs
from drivetrain.data.lengths import length_of
from drivetrain.hookspecs import hookimpl

if TYPE_CHECKING:
    from drivetrain.arguments import TrainingArguments
    from drivetrain.state import TrainerControl, TrainerState


class ProgressCallback(TrainerCallback):
    """Shows how far training and evaluation are, with the values that were logged last.

    Args:
        max_str_len: Characters of a logged text that are shown.
    """

    def __init__(self, max_str_len: int = 100) -> None:
        self.max_str_len = max_str_len
        self.training_bar: Any = None
        self.prediction_bar: Any = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Open the bar at the update that the run starts from."""
        if state.is_world_process_zero:
            self.training_bar = _make_bar(state.max_steps, state.global_step, "train")

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Move the bar to the update that is done."""
        if self.training_bar is not None:
            self.training_bar.update(state.global_step - self.training_bar.n)

    def on_prediction_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Move the evaluation's bar, or open it."""
        if not state.is_world_process_zero:
            return
        if self.prediction_bar is None:
            total = length_of(kwargs.get("eval_dataloader"))
            self.prediction_bar = _make_bar(total, 0, "evaluate", leave=self.training_bar is None)
        self.prediction_bar.update(1)

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Close the evaluation's bar."""
        self._close_prediction_bar()

    def on_predict(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: Any,
        **kwargs: Any,
    ) -> None:
        """Close the prediction's bar."""
        self._close_prediction_bar()

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Write the values above the bar, and the loss beside it."""
        if self.training_bar is None:
            return
        logs = {name: self._shorten(value) for name, value in kwargs["logs"].items()}
        if "loss" in logs:
            self.training_bar.set_postfix({"loss": f"{logs['loss']:.4g}"}, refresh=False)
        self.training_bar.write(format_logs(logs))

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Close the bar."""
        self._close_training_bar()

    @hookimpl
    def on_run_end(self) -> None:
        """Close what is open, if an error ended the run."""
        self._close_prediction_bar()
        self._close_training_bar()

    def _shorten(self, value: Any) -> Any:
        if isinstance(value, str) and len(value) > self.max_str_len:
            return f"{value[: self.max_str_len]}... ({len(value)} characters)"
        return value

    def _close_training_bar(self) -> None:
        if self.training_bar is not None:
            self.training_bar.close()
            self.training_bar = None

    def _close_prediction_bar(self) -> None:
        if self.prediction_bar is not None:
            self.prediction_bar.close()
            self.prediction_bar = None


def _make_bar(total: int | None, initial: int, what: str, leave: bool = True) -> Any:
    from tqdm.auto import tqdm  # a fifth of a second that a run without bars does not spend

    return tqdm(total=total, initial=initial, desc=what, unit="step", dynamic_ncols=True, leave=leave)

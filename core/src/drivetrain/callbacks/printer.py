"""The callback that prints what is logged, where there is no progress bar."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from drivetrain.callbacks.callback import TrainerCallback

if TYPE_CHECKING:
    from collections.abc import Mapping

    from drivetrain.arguments import TrainingArguments
    from drivetrain.state import TrainerControl, TrainerState


def format_logs(logs: Mapping[str, Any]) -> str:
    """Logged values on one line: floats with four digits, without what nobody reads."""
    shown = {name: value for name, value in logs.items() if name != "total_flos"}
    return str({n: f"{v:.4g}" if isinstance(v, float) else v for n, v in shown.items()})


class PrinterCallback(TrainerCallback):
    """Prints each log on a line."""

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Print the values that were logged."""
        if state.is_local_process_zero:
            print(format_logs(kwargs["logs"]), flush=True)

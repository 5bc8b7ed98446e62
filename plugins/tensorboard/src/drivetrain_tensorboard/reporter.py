"""Writes what a run logs to TensorBoard event files."""

from __future__ import annotations

import logging
import os
import textwrap
from numbers import Real
from typing import TYPE_CHECKING, Any

from drivetrain.plugin import Outcome, ReporterPlugin, Run, quietly
from drivetrain_tensorboard.model_config import describe_model_config

with quietly():
    # tensorboard and protobuf warn of their own deprecated calls, about which no user can do anything.
    from torch.utils.tensorboard import SummaryWriter
    from torch.utils.tensorboard.summary import hparams

if TYPE_CHECKING:
    from collections.abc import Mapping

    from drivetrain import TrainingArguments

logger = logging.getLogger(__name__)

FOLDER_VARIABLE = "TENSORBOARD_LOGGING_DIR"
"""The environment variable with the folder to write to instead of the argument ``logging_dir``."""

COMPARED_METRICS = ("train/loss", "eval/loss")
"""What TensorBoard's table of hyper-parameters shows beside them."""


class TensorBoard(ReporterPlugin):
    """Numbers as scalars, texts as texts, the arguments as a text and as hyper-parameters.

    Everything that was logged is on disk when `log` returns, so a run that is killed keeps it. A run
    that resumes tells TensorBoard to forget what was written after the checkpoint, so that no step
    is shown twice.
    """

    def __init__(self, args: TrainingArguments, options: Any = None) -> None:
        super().__init__(args, options)
        self._writer: Any = None
        self._last_step = 0
        self._skipped: set[str] = set()

    def open(self, run: Run) -> None:
        """Start an event file and describe the run in it."""
        self._release()
        self._last_step = run.start_step
        purge_step = run.start_step + 1 if run.start_step > 0 else None
        self._writer = SummaryWriter(choose_folder(self.args), purge_step=purge_step)
        self._describe(run)
        self._writer.flush()

    def log(self, values: Mapping[str, Any], step: int) -> None:
        """Write the values of an update step to disk."""
        assert self._writer is not None, "`log` before `open`"
        self._last_step = max(self._last_step, step)
        for key, value in values.items():
            self._write(key, value, step)
        self._writer.flush()

    def close(self, outcome: Outcome) -> None:
        """Note how the run ended, under ``run/outcome``."""
        if self._writer is None:
            return
        self._writer.add_text("run/outcome", outcome, self._last_step)
        if outcome == "finished":
            _, _, session_end = hparams({}, {})  # torch has no way to say that a session failed
            self._writer.file_writer.add_summary(session_end)
        self._release()

    def _describe(self, run: Run) -> None:
        self._write_json("args", self.args.to_json_string(), run.start_step)
        model_config = describe_model_config(run.model)
        if model_config is not None:
            self._write_json("model_config", model_config, run.start_step)
        experiment, session_start, _ = hparams(
            self.args.to_sanitized_dict(), dict.fromkeys(COMPARED_METRICS)
        )
        self._writer.file_writer.add_summary(experiment)
        self._writer.file_writer.add_summary(session_start)

    def _write_json(self, key: str, json_text: str, step: int) -> None:
        # Four spaces before each line: TensorBoard reads texts as Markdown, and this is code in it.
        self._writer.add_text(key, textwrap.indent(json_text, "    "), step)

    def _write(self, key: str, value: Any, step: int) -> None:
        number = as_number(value)
        if number is not None:
            self._writer.add_scalar(key, number, step)
        elif isinstance(value, str):
            self._writer.add_text(key, value, step)
        elif key not in self._skipped:
            self._skipped.add(key)
            logger.warning(
                f"TensorBoard: {key!r} is left out, now and in what follows: {value!r} "
                f"({type(value).__name__}) is neither a number nor a text."
            )

    def _release(self) -> None:
        if self._writer is not None:
            writer, self._writer = self._writer, None
            writer.close()


def choose_folder(args: TrainingArguments) -> str:
    """The folder to write to: what `FOLDER_VARIABLE` says, else the argument ``logging_dir``."""
    folder = os.environ.get(FOLDER_VARIABLE) or args.logging_dir
    assert folder is not None, "the arguments complete `logging_dir`"
    return os.path.expanduser(folder)


def as_number(value: Any) -> float | None:
    """The value as a float, where it is a number or a tensor or array without dimensions."""
    if getattr(value, "ndim", None) == 0:  # of torch, NumPy, or what follows their manners
        value = value.item()
    return float(value) if isinstance(value, Real) else None

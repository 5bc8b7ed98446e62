"""Writes what a run logs to TensorBoard event files."""

from __future__ import annotations

import os
import re
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drivetrain.plugin import Image, Outcome, ReporterPlugin, Run, as_float, quietly
from drivetrain_tensorboard.model_config import describe_model_config

with quietly():
    # tensorboard and protobuf warn of their own deprecated calls, about which no user can do anything.
    from torch.utils.tensorboard import SummaryWriter
    from torch.utils.tensorboard.summary import hparams

if TYPE_CHECKING:
    from collections.abc import Mapping

    from drivetrain import TrainingArguments

FOLDER_VARIABLE = "TENSORBOARD_LOGGING_DIR"
"""The environment variable with the folder to write to instead of the argument ``logging_dir``."""

_NAMED_BY_TIME = re.compile(r"[\\/]runs[\\/][^\\/]*\d\d_\d\d-\d\d-\d\d_")
"""What a `logging_dir` looks like that nobody chose: ``out/runs/Nov23_14-30-00_host``."""

COMPARED_METRICS = ("train/loss", "eval/loss")
"""What TensorBoard's table of hyper-parameters shows beside them."""


class TensorBoard(ReporterPlugin):
    """Numbers as scalars, texts and pictures as such, the arguments as a text and as hyper-parameters.

    Everything that was logged is on disk when `log` returns, so a run that is killed keeps it. A run
    that resumes goes on in its folder, unless another one is chosen, and tells TensorBoard to forget what
    was written after the checkpoint, so that no step is shown twice.
    """

    def __init__(self, args: TrainingArguments, options: Any = None) -> None:
        super().__init__(args, options)
        self._writer: Any = None
        self._last_step = 0
        self._folder = ""

    def prepare(self) -> None:
        """Choose the folder of a new run, which a checkpoint may tell of before `open` is done."""
        self._folder = choose_folder(self.args, {})

    def open(self, run: Run) -> None:
        """Start an event file and describe the run in it."""
        self._release()
        self._last_step = run.start_step
        purge_step = run.start_step + 1 if run.start_step > 0 else None
        self._folder = choose_folder(self.args, run.state)
        _wait_for_a_later_name(Path(self._folder))
        self._writer = SummaryWriter(self._folder, purge_step=purge_step)
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

    def state(self) -> Mapping[str, Any]:
        """The folder; as it lies in `output_dir`, so that both may be moved."""
        if not self._folder:
            return {}
        folder, around = os.path.abspath(self._folder), os.path.abspath(self.args.output_dir)
        is_inside = Path(folder).is_relative_to(around)
        return {"folder": os.path.relpath(folder, around) if is_inside else folder}

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
        number = as_float(value)
        if number is not None:
            self._writer.add_scalar(key, number, step)
        elif isinstance(value, str):
            self._writer.add_text(key, value, step)
        elif isinstance(value, Image):
            self._writer.add_image(key, value.pixels, step, dataformats="HWC")
            if value.caption:
                self._writer.add_text(key, value.caption, step)
        else:
            self.leave_out(key, value)

    def _release(self) -> None:
        if self._writer is not None:
            writer, self._writer = self._writer, None
            writer.close()


def choose_folder(args: TrainingArguments, state: Mapping[str, Any]) -> str:
    """The folder to write to.

    What `FOLDER_VARIABLE` says, else the argument ``logging_dir`` if it was chosen, else where the run that
    is resumed wrote to, else the ``logging_dir`` that is named by the time.
    """
    assert args.logging_dir is not None, "the arguments complete `logging_dir`"
    folder = os.path.expanduser(os.environ.get(FOLDER_VARIABLE) or args.logging_dir)
    is_chosen = bool(os.environ.get(FOLDER_VARIABLE)) or not _NAMED_BY_TIME.search(folder)
    if is_chosen or "folder" not in state:
        return folder
    of_before = os.path.join(args.output_dir, state["folder"])
    return of_before if os.path.isdir(of_before) else folder


def _wait_for_a_later_name(folder: Path) -> None:
    """Wait until a new file will be read after those that are there.

    They are read in the order of their names, which begin with the second that they were made in.
    """
    while any(folder.glob(f"events.out.tfevents.{int(time.time()):010d}.*")):
        time.sleep(0.02)

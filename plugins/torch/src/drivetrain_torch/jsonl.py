"""The reporter `jsonl`: what a run logs as lines of JSON, and how to read it back."""

from __future__ import annotations

import importlib
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from drivetrain.plugin import Outcome, ReporterPlugin, Run, read_versions
from drivetrain_torch.json_lines import FILE_NAME, encode_line
from drivetrain_torch.json_lines_pictures import PictureFolder, is_picture

if TYPE_CHECKING:
    from drivetrain import TrainingArguments
    from drivetrain_torch.json_lines_parts import RunPart as RunPart
    from drivetrain_torch.json_lines_parts import read_parts as read_parts
    from drivetrain_torch.json_lines_reading import read_log as read_log

_ON_FIRST_USE = {
    "RunPart": "json_lines_parts",
    "read_log": "json_lines_reading",
    "read_parts": "json_lines_parts",
}
"""What reads a file back: a run that writes one does without."""

_NAMED_BY_TIME = re.compile(r"[\\/]runs[\\/][^\\/]*\d\d_\d\d-\d\d-\d\d_")
"""What a `logging_dir` looks like that nobody chose: ``out/runs/Nov23_14-30-00_host``."""


class JSONLines(ReporterPlugin):
    """A line of JSON in `output_dir`/log.jsonl for each log, and when a run begins and ends.

    Each line is handed to the system in one piece before `log` returns, so a process that is killed
    leaves every line that it logged, whole. A run that resumes appends to the file; `read_log` reads
    it as one run that never stopped. Where the file is removed while the run goes on, the next log
    begins another. Pictures are PNG files in the folder ``media`` beside it.
    """

    is_immediate: ClassVar[bool] = True

    def __init__(self, args: TrainingArguments, options: Any = None) -> None:
        super().__init__(args, options)
        self._file: int | None = None
        self._is_torn = False
        self._session = ""
        self._last_step = -1
        self._run: dict[str, Any] = {}
        self._pictures = PictureFolder()

    def open(self, run: Run) -> None:
        """Append a line that says which run begins, where, and with which arguments."""
        self._release()
        if run.start_step != self._last_step:  # else it goes on, with an evaluation after training, say
            self._session = os.urandom(4).hex()
        self._last_step = run.start_step
        self._run = {
            "run": run.name,
            "config": dict(run.config),
            "facts": dict(run.facts),
            "versions": read_versions(),
        }
        try:
            self._begin_file()
        except BaseException:
            self._release()
            raise

    def log(self, values: Mapping[str, Any], step: int) -> None:
        """Append the values of an update step as a line; if the file was removed, to a new one."""
        assert self._file is not None, "`log` before `open`"
        if os.fstat(self._file).st_nlink == 0:
            self._begin_file()
        self._last_step = step
        line = self._begin_line()
        if "train/epoch" in values:
            line["epoch"] = values["train/epoch"]
        for name, value in values.items():
            line[name] = self._pictures.save(name, value, step) if is_picture(value) else value
        self._write(line)

    def close(self, outcome: Outcome) -> None:
        """Append a line that says how the run ended."""
        if self._file is None:
            return
        try:
            self._write_event("end", outcome=outcome)
        finally:
            self._release()

    def _begin_file(self) -> None:
        path = choose_file(self.args)
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
        self._release()
        self._file = file
        self._pictures.beside = path.parent
        self._is_torn = _ends_within_a_line(file)
        self._write_event("begin", **self._run)

    def _write_event(self, event: str, **details: Any) -> None:
        self._write({**self._begin_line(), "event": event, **details})

    def _begin_line(self) -> dict[str, Any]:
        return {"step": self._last_step, "time": round(time.time(), 3), "session": self._session}

    def _write(self, line: dict[str, Any]) -> None:
        assert self._file is not None
        data = encode_line(line)
        if self._is_torn:
            data = b"\n" + data
        written = 0
        try:
            while written < len(data):  # once, unless the disk is nearly full
                written += os.write(self._file, data[written:])
        finally:
            if written:
                self._is_torn = written < len(data)

    def _release(self) -> None:
        if self._file is not None:
            file, self._file = self._file, None
            os.close(file)


def __getattr__(name: str) -> Any:
    if name not in _ON_FIRST_USE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"drivetrain_torch.{_ON_FIRST_USE[name]}"), name)
    globals()[name] = value
    return value


def choose_file(args: TrainingArguments) -> Path:
    """The file to append to: in `logging_dir` if one was chosen, else in `output_dir`.

    A `logging_dir` that is named by the time, as the default is, would be another one for each part of
    a run that is resumed.
    """
    folder = args.logging_dir
    is_chosen = folder is not None and not _NAMED_BY_TIME.search(folder)
    return Path(folder if folder is not None and is_chosen else args.output_dir, FILE_NAME)


def _ends_within_a_line(file: int) -> bool:
    """Whether somebody who wrote to the file before was cut off."""
    if os.fstat(file).st_size == 0:
        return False
    os.lseek(file, -1, os.SEEK_END)
    return os.read(file, 1) != b"\n"

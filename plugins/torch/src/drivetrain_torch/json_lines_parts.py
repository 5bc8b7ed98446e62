"""What the lines of JSON say of how a run went: when it began, was stopped, resumed and ended."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from drivetrain.plugin import as_float
from drivetrain_torch.json_lines import FILE_NAME
from drivetrain_torch.json_lines_reading import whole_lines

ERROR_NAME = "run/error"
"""The text that says what ended a run."""


@dataclass
class RunPart:
    """What was logged between an opening of the file and the end, or until the process was killed.

    Attributes:
        session: Tells what one reporter wrote from what others did.
        run: The argument ``run_name``.
        config: The arguments, and ``model_config``.
        facts: What is known of the model.
        versions: Of Python, torch, drivetrain and the distributions of its parts, by name. Empty in files
            that were written before they were noted; so is ``facts``.
        start_step: The step that it began at: 0, or that of the checkpoint.
        last_step: The last step that was logged.
        began: Seconds since 1970.
        ended: The time of its last line.
        outcome: How it ended; None if the process was killed, or still runs.
        errors: What was reported as going wrong.
    """

    session: str
    run: str
    config: Mapping[str, Any]
    facts: Mapping[str, Any]
    versions: Mapping[str, Any]
    start_step: int
    last_step: int
    began: float
    ended: float
    outcome: str | None = None
    errors: list[str] = field(default_factory=list)

    @property
    def has_trained(self) -> bool:
        """Whether it went past the step that it began at."""
        return self.last_step > self.start_step


def read_parts(path: str | os.PathLike[str]) -> list[RunPart]:
    """Every part of every run in a file, in the order in which they began.

    Args:
        path: The file, or the folder that it is in.

    Raises:
        OSError: The file cannot be read.
    """
    file = Path(path)
    parts: list[RunPart] = []
    current: dict[str, RunPart] = {}
    for line in whole_lines(file / FILE_NAME if file.is_dir() else file):
        event, session = line.get("event"), line["session"]
        if event == "begin" or session not in current:
            current[session] = _begin(line)
            parts.append(current[session])
        _continue(current[session], line)
    return parts


def _begin(line: dict[str, Any]) -> RunPart:
    return RunPart(
        session=line["session"],
        run=str(line.get("run") or ""),
        config=_as_mapping(line.get("config")),
        facts=_as_mapping(line.get("facts")),
        versions=_as_mapping(line.get("versions")),
        start_step=line["step"],
        last_step=line["step"],
        began=_time_of(line),
        ended=_time_of(line),
    )


def _continue(part: RunPart, line: dict[str, Any]) -> None:
    part.last_step = max(part.last_step, line["step"])
    part.ended = max(part.ended, _time_of(line))
    if line.get("event") == "end":
        part.outcome = str(line.get("outcome") or "") or None
    error = line.get(ERROR_NAME)
    if isinstance(error, str):
        part.errors.append(error)


def _time_of(line: dict[str, Any]) -> float:
    time = line.get("time")
    number = as_float(time) if isinstance(time, (int, float)) else None
    return number if number is not None and math.isfinite(number) else 0.0


def _as_mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}

"""What a run logged, sorted by name: numbers as curves, texts and pictures by themselves."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from drivetrain.plugin import as_float

SUMMARY_NAMES = (
    "train/train_runtime",
    "train/train_samples_per_second",
    "train/train_steps_per_second",
    "train/train_tokens_per_second",
    "train/train_loss",
    "train/total_flos",
)
"""What `train` logs once, at its end."""

_ABOUT_A_LINE = ("step", "time", "epoch", "train/epoch", "eval/epoch", "test/epoch", "session")


@dataclass
class Series:
    """One curve. All lists are as long as there are values.

    Attributes:
        times: Seconds since the run began; None where nobody noted them, or they are no finite numbers.
        epochs: How far the run was in its data, where that was logged; likewise.
        values: NaN and infinities are among them.
    """

    steps: list[int] = field(default_factory=list)
    times: list[float | None] = field(default_factory=list)
    epochs: list[float | None] = field(default_factory=list)
    values: list[float] = field(default_factory=list)

    def non_finite_steps(self) -> list[int]:
        """Where a value is NaN or infinite."""
        return [s for s, value in zip(self.steps, self.values, strict=True) if not math.isfinite(value)]


@dataclass(frozen=True)
class Text:
    """A text that was reported at a step."""

    name: str
    step: int
    text: str


@dataclass(frozen=True)
class Picture:
    """A picture that was reported at a step, in a file."""

    name: str
    step: int
    file: Path
    caption: str


@dataclass
class Logged:
    """Everything that a run logged.

    Attributes:
        series: By the names that reporters get.
        summary: What `train` summed up at its end.
    """

    series: dict[str, Series] = field(default_factory=dict)
    summary: dict[str, float] = field(default_factory=dict)
    texts: list[Text] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)


def sort_lines(lines: Iterable[Mapping[str, Any]], began: float | None, folder: Path) -> Logged:
    """Sort logged lines by the names in them.

    Args:
        lines: With ``"step"``, maybe ``"time"`` (seconds since 1970) and ``"epoch"``, and values.
        began: When the run began, in seconds since 1970; None if nobody knows.
        folder: What the files of pictures are relative to.
    """
    logged = Logged()
    for line in lines:
        for name, value in line.items():
            if name not in _ABOUT_A_LINE:
                _take(logged, name, value, line, began, folder)
    return logged


def _take(
    logged: Logged, name: str, value: Any, line: Mapping[str, Any], began: float | None, folder: Path
) -> None:
    step = line["step"]
    if isinstance(value, str):
        logged.texts.append(Text(name, step, value))
    elif isinstance(value, Mapping):
        file = _find_picture(value, folder)
        if file is not None:
            logged.pictures.append(Picture(name, step, file, str(value.get("caption") or "")))
    elif name in SUMMARY_NAMES and isinstance(value, (int, float)):
        logged.summary[name] = _as_float(value)
    elif isinstance(value, (int, float)) and not _is_sum(name, line):
        series = logged.series.setdefault(name, Series())
        series.steps.append(step)
        series.times.append(_seconds_since(began, line.get("time")))
        series.epochs.append(_finite_or_none(line.get("epoch", line.get("train/epoch"))))
        series.values.append(_as_float(value))


def _is_sum(name: str, line: Mapping[str, Any]) -> bool:
    """Whether a value of the summary is the sum of those that were logged under the same name before."""
    return name == "train/non_finite_losses" and SUMMARY_NAMES[0] in line


def _find_picture(value: Mapping[str, Any], folder: Path) -> Path | None:
    """The file of a picture, if it is one, and within the folder."""
    name = value.get("image")
    if not isinstance(name, str):
        return None
    file = (folder / name).resolve()
    return file if file.is_relative_to(folder.resolve()) and file.is_file() else None


def _seconds_since(began: float | None, time: Any) -> float | None:
    moment = _finite_or_none(time)
    if began is None or moment is None:
        return None
    return _finite_or_none(round(max(0.0, moment - began), 3))


def _finite_or_none(value: Any) -> float | None:
    number = _as_float(value) if isinstance(value, (int, float)) else math.nan
    return number if math.isfinite(number) else None


def _as_float(value: int | float) -> float:
    """As a float; an integer that is too large for one is infinite."""
    number = as_float(value)
    assert number is not None
    return number

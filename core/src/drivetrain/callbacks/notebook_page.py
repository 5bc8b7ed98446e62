"""What a notebook shows of a run: progress bars and a table of metrics, as HTML and as plain text."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Any

from drivetrain.callbacks.wording import clock

_SECONDS_BETWEEN = 0.3
_MAX_ROWS = 100
_MAX_CHARACTERS = 100
_TABLE = "text-align: right; border-spacing: 1em 0"

_TITLES = {
    "step": "Step",
    "epoch": "Epoch",
    "loss": "Training loss",
    "eval_loss": "Validation loss",
}
_NOT_IN_TABLE = {
    "step",
    "epoch",
    "learning_rate",
    "grad_norm",
    "total_flos",
    "num_input_tokens_seen",
    "train_loss",  # of the whole run: the last log has it, and no update
}


@dataclass
class Bar:
    """How far something is.

    Attributes:
        label: What is under way.
        total: Steps in all, if that is known.
        start: Steps that were done when the clock began to run.
        done: Steps that are done.
        note: Said after the numbers: how the run ended, if not well.
        figures: Gives what is said of speed and time left; by default what all steps took on average.
    """

    label: str
    total: int | None
    start: int
    done: int
    note: str = ""
    figures: Callable[[], Iterable[str]] | None = None
    began: float = field(default_factory=lambda: time.monotonic())

    def to_text(self) -> str:
        """Label, steps, time gone, speed and time left."""
        steps = f"{self.done}/{'?' if self.total is None else self.total}"
        parts = [f"{self.label} {steps}", self._times(), self.note]
        return ", ".join(part for part in parts if part)

    def to_html(self) -> str:
        """A progress element, and the text beside it."""
        reached = "" if self.total is None else f" value='{self.done}' max='{max(self.total, 1)}'"
        return f"<div><progress{reached} style='width: 20em'></progress> {escape(self.to_text())}</div>"

    def _times(self) -> str:
        elapsed = time.monotonic() - self.began
        if self.done <= self.start or elapsed <= 0:
            return ""
        figures = self._figures(elapsed) if self.figures is None else self.figures()
        return ", ".join([clock(elapsed), *figures])

    def _figures(self, elapsed: float) -> list[str]:
        rate = (self.done - self.start) / elapsed
        figures = [f"{rate:.3g} steps/s"]
        if self.total is not None and self.total > self.done and not self.note:
            figures.append(f"{clock((self.total - self.done) / rate)} left")
        return figures


@dataclass
class Lines:
    """A few lines of text."""

    lines: list[str]

    def to_text(self) -> str:
        """The lines."""
        return "\n".join(self.lines)

    def to_html(self) -> str:
        """The same, smaller than what is around them."""
        shown = "".join(f"<div>{escape(line)}</div>" for line in self.lines)
        return f"<div style='font-size: smaller; opacity: 0.8'>{shown}</div>"


class MetricsTable:
    """Logged metrics, a row for each update after which something was logged.

    Args:
        key: What the first column counts, ``"step"`` or ``"epoch"``.
    """

    def __init__(self, key: str) -> None:
        self.key = key
        self._names: dict[str, None] = {}  # in the order in which they came
        self._rows: dict[int, dict[str, Any]] = {}

    def add(self, entry: Mapping[str, Any]) -> None:
        """Add one entry of the history: values by name, with ``step`` and ``epoch``."""
        values = {name: value for name, value in entry.items() if _is_metric(name)}
        if values:
            self._names.update(dict.fromkeys(values))
            row = self._rows.setdefault(entry["step"], {self.key: entry[self.key]})
            row.update(values)

    @property
    def num_left_out(self) -> int:
        """Rows that are not shown, for a long run would be shown slower and slower."""
        return max(len(self._rows) - _MAX_ROWS, 0)

    def cells(self) -> list[list[str]]:
        """The heading, then the latest rows, as text."""
        losses = [name for name in ("loss", "eval_loss") if name in self._names]
        names = [self.key, *losses, *(name for name in self._names if name not in losses)]
        rows = list(self._rows.values())[self.num_left_out :]
        return [
            [_TITLES.get(name, name) for name in names],
            *([_shown(row.get(name, "")) for name in names] for row in rows),
        ]

    def to_text(self) -> str:
        """The table with aligned columns; nothing if there is no row."""
        if not self._rows:
            return ""
        cells = self.cells()
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = ["  ".join(map(str.rjust, row, widths)) for row in cells]
        return "\n".join([*lines, *self._remark()])

    def to_html(self) -> str:
        """The table; nothing if there is no row."""
        if not self._rows:
            return ""
        heading, *rows = self.cells()
        body = "".join(_html_row("td", row) for row in rows)
        remark = "".join(f"<div>{escape(line)}</div>" for line in self._remark())
        head = f"<thead>{_html_row('th', heading)}</thead>"
        return f"<table style='{_TABLE}'>{head}<tbody>{body}</tbody></table>{remark}"

    def _remark(self) -> list[str]:
        if not self.num_left_out:
            return []
        return [f"{self.num_left_out} earlier rows are in trainer.state.log_history."]


class Page:
    """An output of a notebook's cell: what runs, the training's bar, the table, the evaluation's bar.

    What changes is shown at most a few times a second. At the end `closing` says how it ended.
    """

    def __init__(
        self,
        training: Bar | None = None,
        table: MetricsTable | None = None,
        opening: Iterable[str] = (),
    ) -> None:
        self.opening = list(opening)
        self.closing: list[str] = []
        self.training = training
        self.table = table
        self.evaluation: Bar | None = None
        self._output: Any = None
        self._shown_at = 0.0

    def show(self, at_once: bool = False) -> None:
        """Show the page as it is, unless it was shown just now and it need not be ``at_once``."""
        now = time.monotonic()
        if self._output is not None and not at_once and now - self._shown_at < _SECONDS_BETWEEN:
            return
        self._shown_at = now
        shown = {"text/html": self.to_html(), "text/plain": self.to_text()}
        if self._output is None:
            display = importlib.import_module("IPython.display").display  # there is one in a notebook
            self._output = display(shown, raw=True, display_id=True)
        else:
            self._output.update(shown, raw=True)

    def to_html(self) -> str:
        """The page for a frontend that shows HTML."""
        return f"<div>{''.join(part.to_html() for part in self._parts())}</div>"

    def to_text(self) -> str:
        """The page for one that does not."""
        return "\n".join(filter(None, (part.to_text() for part in self._parts())))

    def _parts(self) -> list[Bar | MetricsTable | Lines]:
        opening = Lines(self.opening) if self.opening else None
        closing = Lines(self.closing) if self.closing else None
        parts = (opening, self.training, self.table, self.evaluation, closing)
        return [part for part in parts if part is not None]


def _is_metric(name: str) -> bool:
    is_cost = name.endswith(("_runtime", "_per_second")) or "_mem_" in name
    return name not in _NOT_IN_TABLE and not is_cost


def _shown(value: Any) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= _MAX_CHARACTERS else f"{text[:_MAX_CHARACTERS]}..."


def _html_row(tag: str, cells: list[str]) -> str:
    return f"<tr>{''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in cells)}</tr>"

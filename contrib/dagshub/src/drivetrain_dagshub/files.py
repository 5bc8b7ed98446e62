"""The two files that DagsHub reads, by the logger of its library."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class RunFiles:
    """A file of numbers and a file of arguments, on disk after each call.

    Args:
        metrics_path: The lines ``Name,Value,Timestamp,Step``.
        hparams_path: YAML.
        last_step: The update whose lines, and those before, are kept of files that are there; None to
            begin anew.
    """

    def __init__(self, metrics_path: Path, hparams_path: Path, last_step: int | None) -> None:
        from dagshub.logger import DAGsHubLogger

        rows = [] if last_step is None else _read_rows(metrics_path, last_step)
        self._last_steps: dict[str, int] = {}
        # The logger empties the file that it opens: what is kept of the old one is in the new one before
        # that takes its place.
        new = metrics_path.with_name(f"{metrics_path.name}.new")
        self._logger = DAGsHubLogger(
            metrics_path=str(new), hparams_path=str(hparams_path), eager_logging=False
        )
        for name, value, timestamp, step in rows:
            self._last_steps[name] = max(step, self._last_steps.get(name, 0))
            self._logger.unsaved_metrics.append(({name: value}, timestamp, step))
        self._logger.hparams = {} if last_step is None else _read_hparams(hparams_path)
        self._save()
        os.replace(new, metrics_path)

    def append(self, numbers: Mapping[str, float | int], step: int) -> None:
        """Append a line for each number that is not there."""
        fresh = {
            name: number for name, number in numbers.items() if step > self._last_steps.get(name, -1)
        }
        self._logger.log_metrics(fresh, step_num=step)
        self._save()

    def note(self, entries: Mapping[str, Any]) -> None:
        """Write to the file of arguments."""
        self._logger.log_hyperparams(dict(entries))
        self._logger.save_hparams()

    def close(self) -> None:
        """Close them."""
        self._logger.close()

    def _save(self) -> None:
        self._logger.save_metrics()
        self._logger.metrics_file.flush()


def _read_rows(path: Path, last_step: int) -> list[tuple[str, float, int, int]]:
    """The whole lines up to a step."""
    if not path.is_file():
        return []
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    rows = [row for row in csv.reader(whole.splitlines(keepends=True)) if len(row) == 4][1:]
    read = [
        (name, _as_number(value), int(timestamp), int(step)) for name, value, timestamp, step in rows
    ]
    return [row for row in read if row[3] <= last_step]


def _as_number(text: str) -> float | int:
    return int(text) if text.lstrip("-").isdigit() else float(text)


def _read_hparams(path: Path) -> dict[str, Any]:
    """What was noted, but for how the run ended that goes on now."""
    import yaml

    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError):  # none yet, or a process was killed while it wrote
        return {}
    entries = found if isinstance(found, dict) else {}
    return {name: value for name, value in entries.items() if not name.startswith("run/")}

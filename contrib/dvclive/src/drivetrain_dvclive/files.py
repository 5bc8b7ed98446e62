"""The files that DVCLive wrote, made ready for a run that goes on with them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

METRICS_FOLDER = Path("plots", "metrics")
SUMMARY_FILE = "metrics.json"


def forget_later_steps(folder: Path, last_step: int) -> None:
    """Take out what was logged after a step, and what a process that was killed did not write whole.

    Args:
        folder: Where DVCLive writes to.
        last_step: The last update that is kept.
    """
    for path in _metric_files(folder):
        header, *lines = path.read_text(encoding="utf-8").splitlines(keepends=True) or [""]
        kept = [line for line in lines if line.endswith("\n") and _step_of(line) <= last_step]
        if len(kept) == len(lines):
            continue
        if kept:
            _replace(path, header + "".join(kept))
        else:
            path.unlink()
    summary = folder / SUMMARY_FILE
    if summary.is_file() and not _is_json(summary):
        summary.unlink()


def _metric_files(folder: Path) -> Iterator[Path]:
    return (folder / METRICS_FOLDER).rglob("*.tsv")


def _step_of(line: str) -> int:
    return int(line.split("\t", 1)[0])


def _replace(path: Path, text: str) -> None:
    new = path.with_name(f"{path.name}.new")
    new.write_text(text, encoding="utf-8")
    os.replace(new, path)


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return False
    return True

"""What a project's database has of a run."""

from __future__ import annotations

import importlib
from typing import Any


def read_last_steps(project: str, name: str) -> dict[str, int]:
    """The last update that each value of a run is there for; nothing if the run is not there."""
    last: dict[str, int] = {}
    for row in _storage().get_logs(project, name):
        for value_name in row.keys() - {"step", "timestamp"}:
            last[value_name] = max(int(row["step"]), last.get(value_name, -1))
    return last


def count_rows(project: str, name: str) -> int:
    """How many rows a run has."""
    return int(_storage().get_log_count(project, name))


def make_name(project: str, name: str) -> str:
    """A name that no run of the project has: the one given, or with a number after it."""
    taken = set(_storage().get_runs(project))
    number, made = 1, name
    while made in taken:
        number += 1
        made = f"{name}-{number}"
    return made


def _storage() -> Any:
    return importlib.import_module("trackio.sqlite_storage").SQLiteStorage

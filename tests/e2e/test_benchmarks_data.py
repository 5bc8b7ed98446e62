"""The benchmarks of data, reads and memory run, at a size at which they take no time."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from projects import REPOSITORY

pytestmark = pytest.mark.slow

BENCHMARKS = REPOSITORY / "benchmarks"
CODE = """
import dataclasses, importlib, json, sys
sys.path.insert(0, {folder!r})
found = importlib.import_module({name!r}).measure(quick=True)
print(json.dumps([dict(dataclasses.asdict(one), is_reached=one.is_reached) for one in found], default=str))
"""


def measure(name: str) -> list[dict[str, Any]]:
    code = CODE.format(folder=str(BENCHMARKS), name=name)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    found: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_grouping_is_timed_beside_numpy_that_gives_the_same_order() -> None:
    short, long, search = measure("grouping")
    for passes in (short, long):
        assert {"NumPy", "NumPy, group by group", "drivetrain"} <= set(passes["values"])
        assert all(value > 0 for values in passes["values"].values() for value in values)
    assert set(search["values"]) == {"list comprehension", "drivetrain"}


def test_reads_are_counted_and_drivetrain_makes_none() -> None:
    found = measure("reads")
    assert len(found) == 2
    assert all(one["is_reached"] and one["values"]["drivetrain"] == [0.0] for one in found)
    assert found[0]["values"]["bare loop"] == [0.0]


def test_memory_is_watched_without_logs_and_with() -> None:
    found = measure("growth")
    assert [one["title"].rpartition(", ")[2] for one in found] == [
        "no logs",
        "a log every 10",
        "a log every 500",
    ]
    for one in found:
        assert {"bare loop", "drivetrain"} <= set(one["values"])
        assert "bytes for each log that is kept" in one["note"]

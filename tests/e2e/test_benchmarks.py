"""Benchmarks run, at a size at which they take no time."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from projects import REPOSITORY

BENCHMARKS = REPOSITORY / "benchmarks"


def run(script: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / script), *arguments],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def rows_of(table: str) -> dict[str, float]:
    """Seconds by the rows' names."""
    found = re.findall(r"^  (\S.*?) {2,}(\d+\.\d+) \(", table, flags=re.MULTILINE)
    return {name: float(seconds) for name, seconds in found}


@pytest.mark.slow
def test_the_benchmark_of_checkpoints_measures_every_part_and_leaves_nothing_behind(
    tmp_path: Path,
) -> None:
    pytest.importorskip("transformers")
    printed = run("checkpoint.py", "--quick", "--folder", str(tmp_path))
    seconds = rows_of(printed)
    assert set(seconds) == {
        "write and flush of one buffer",
        "drivetrain",
        "transformers, which does not flush",
        "transformers, and then a flush of its files",
        "drivetrain, async_save, until it is whole",
        "copy to tensors that are there",
        "copy to new tensors",
        "drivetrain, async_save",
        *(
            f"step {step}: {who}"
            for step in (3, 20, 30)
            for who in ("loading, with torch and safetensors", "drivetrain", "transformers")
        ),
    }
    assert seconds["drivetrain, async_save"] <= seconds["drivetrain, async_save, until it is whole"]
    assert list(tmp_path.iterdir()) == []

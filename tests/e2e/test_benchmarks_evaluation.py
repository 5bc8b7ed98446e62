"""The benchmark of evaluation: it runs, and what it compares comes to the same results."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from projects import REPOSITORY

BENCHMARKS = REPOSITORY / "benchmarks"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def comparisons(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the quick benchmark wrote, by title."""
    folder = tmp_path_factory.mktemp("benchmark")
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS), "evaluation", "--quick", "--output-dir", str(folder)],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    assert "**A quick run" in (folder / "evaluation.md").read_text(encoding="utf-8")
    assert (folder / "evaluation.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    written = json.loads((folder / "evaluation.json").read_text())["comparisons"]
    return {one["title"]: one for one in written}


def test_time_is_measured_for_small_batches_and_large_ones(comparisons: dict[str, Any]) -> None:
    for batch_size in (8, 64):
        one = comparisons[f"CPU time of an evaluation of 400 samples, batches of {batch_size}"]
        assert one["reference"] == "bare loop"
        assert set(one["figures"]) == {"bare loop", "drivetrain"}
        assert one["missing"]["bare loop with a list"] == "left out of a quick run"
        assert "ignite" in one["missing"]
        assert all(figure > 0 for figure in one["figures"].values())
        assert one["goal"] == "at most 1.10 of the reference"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the peak of memory cannot be reset")
def test_memory_is_measured_in_units_of_the_logits_and_over_three_sizes(
    comparisons: dict[str, Any],
) -> None:
    peak = comparisons["Peak memory of an evaluation of 400 samples, batches of 64"]
    assert peak["unit"] == "times the logits (1.6 MB)"
    assert set(peak["figures"]) == {"bare loop", "drivetrain"}
    for what in ("only the loss is asked for", "metrics go batch by batch"):
        growth = comparisons[f"Growth of memory where {what}, from 500 to 4,000 samples"]
        assert "500, 1,000, 4,000 samples" in growth["note"]
        assert set(growth["figures"]) == {"bare loop", "drivetrain"}
        assert min(growth["figures"].values()) >= 0

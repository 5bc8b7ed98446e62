"""Benchmarks run, at a size at which they take no time."""

from __future__ import annotations

import json
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


@pytest.fixture(scope="module")
def optimizers(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Two optimizers, one that the arguments refuse, and one that is not there; the folder and the output."""
    folder = tmp_path_factory.mktemp("benchmark")
    names = ["sgd", "galore_adamw", "adamw_torch_xla", "nonsense"]
    return folder, run("optimizers.py", "--quick", "--output-dir", str(folder), "--names", *names)


@pytest.mark.slow
def test_the_benchmark_of_optimizers_measures_each_beside_adamw(optimizers: tuple[Path, str]) -> None:
    folder, printed = optimizers
    results = json.loads((folder / "optimizers.json").read_text())["names"]
    assert set(results) == {"adamw_torch", "sgd", "galore_adamw", "adamw_torch_xla", "nonsense"}
    adamw, sgd, galore = (results[name] for name in ("adamw_torch", "sgd", "galore_adamw"))
    assert adamw["ratio"] == [1.0, 1.0, 1.0]
    assert 8 * adamw["parameters"] <= adamw["state"] < 8.01 * adamw["parameters"]
    assert sgd["state"] == 0
    assert galore["matrix"] / adamw["matrix"] == pytest.approx(3 / 8, rel=0.01)  # moments, projection
    assert galore["loss"] != adamw["loss"]
    assert re.search(r"^galore_adamw +\d+\.\d+ ", printed, flags=re.MULTILINE)
    assert (folder / "optimizers.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


@pytest.mark.slow
def test_what_cannot_run_is_listed_with_the_reason_that_is_given(
    optimizers: tuple[Path, str],
) -> None:
    folder, printed = optimizers
    results = json.loads((folder / "optimizers.json").read_text())["names"]
    page = (folder / "optimizers.md").read_text()
    for name in ("adamw_torch_xla", "nonsense"):
        assert results[name]["reason"].startswith("`optim`: ")
        assert f"| `{name}` | `optim`: " in page
        assert re.search(rf"^{name} +`optim`: ", printed, flags=re.MULTILINE)


@pytest.mark.slow
def test_claims_stand_beside_what_was_measured(optimizers: tuple[Path, str]) -> None:
    folder, _ = optimizers
    page = (folder / "optimizers.md").read_text()
    assert re.search(
        r"^\| `galore_adamw` \| 65.5 % less state \| .*arXiv:2403.03507 \| [\d.]+% less; 62\.\d% for one "
        r"matrix \| (yes|for matrices|no) \|$",
        page,
        flags=re.MULTILINE,
    )

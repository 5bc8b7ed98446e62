"""The benchmark of starting runs, at a size at which its figures mean nothing."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from projects import REPOSITORY

pytestmark = pytest.mark.slow


def test_the_benchmark_of_starting_measures_imports_commands_and_a_run_of_one_step(
    tmp_path: Path,
) -> None:
    command = [sys.executable, str(REPOSITORY / "benchmarks"), "startup", "--quick"]
    done = subprocess.run(
        [*command, "--output-dir", str(tmp_path)], capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    written = json.loads((tmp_path / "startup.json").read_text(encoding="utf-8"))
    figures = {one["title"]: one["values"] for one in written["comparisons"]}
    assert {"import torch", "drivetrain"} == set(figures["Importing the trainer and its arguments"])
    assert {"Python", "drivetrain"} == set(figures["Importing drivetrain"])
    assert {"bare loop", "drivetrain"} == set(figures["A `train()` of one step"])
    assert any(title.startswith("`drivetrain plugins` with ") for title in figures)
    assert "**A quick run" in (tmp_path / "startup.md").read_text(encoding="utf-8")
    assert all(value > 0 for values in figures.values() for one in values.values() for value in one)


def test_a_process_that_ends_instead_of_an_answer_is_an_error_with_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(REPOSITORY / "benchmarks"))
    asking = importlib.import_module("asking")
    script = tmp_path / "once.py"
    script.write_text("import sys\ninput()\nprint(7, flush=True)\nsys.exit(f'no {sys.argv[1]}')\n")
    with asking.Asked(script, "more") as process:
        assert process.ask() == 7
        with pytest.raises(RuntimeError, match="^once.py more failed:\nno more\n$"):
            process.ask()

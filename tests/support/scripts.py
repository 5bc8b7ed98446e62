"""Runs the examples as their readers do: in a process of their own, from another folder."""

from __future__ import annotations

import csv
import importlib.util
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
ACCELERATE = ("-m", "accelerate.commands.launch", "--cpu", "--num_processes", "1")


@dataclass(frozen=True)
class Done:
    """A script that ended: where it wrote, and what it said."""

    output: Path
    returncode: int
    stdout: str
    stderr: str

    def read_results(self, split: str) -> dict[str, Any]:
        """What `Trainer.save_metrics` wrote."""
        results: dict[str, Any] = json.loads((self.output / f"{split}_results.json").read_text())
        return results

    def read_predictions(self) -> list[dict[str, str]]:
        """The rows of the table of predictions."""
        with (self.output / "predictions.csv").open(encoding="utf-8", newline="") as stream:
            return list(csv.DictReader(stream))


def run_example(
    name: str, folder: Path, *words: str, launcher: Sequence[str] = (), code: str | None = None
) -> Done:
    """Run an example's script in a folder.

    Args:
        name: The example's folder.
        folder: Where it is started.
        words: Its command line.
        launcher: What stands between Python and the script.
        code: What Python runs before the script.
    """
    script = str(EXAMPLES / name / "train.py")
    start = [*launcher, script] if code is None else ["-c", code + _START.format(script=script)]
    done = subprocess.run(
        [sys.executable, *start, *words],
        cwd=folder,
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )
    return Done(folder / "out", done.returncode, done.stdout, done.stderr)


def train_example(name: str, folder: Path, **settings: Any) -> Done:
    """Run an example with its own settings but for those given, from a JSON file, into ``out``."""
    own = json.loads((EXAMPLES / name / "settings.json").read_text())
    settings = {**own, "output_dir": "out", "disable_tqdm": True, "report_to": "none", **settings}
    (folder / "mine.json").write_text(json.dumps(settings))
    done = run_example(name, folder, "mine.json")
    assert done.returncode == 0, done.stderr
    return done


def load_module(name: str, module: str) -> ModuleType:
    """A module of an example."""
    spec = importlib.util.spec_from_file_location(module, EXAMPLES / name / f"{module}.py")
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[module] = loaded  # where dataclasses look for it
    spec.loader.exec_module(loaded)
    return loaded


_START = """
import os, runpy, sys
sys.path.insert(0, os.path.dirname({script!r}))
sys.argv[0] = {script!r}
runpy.run_path({script!r}, run_name="__main__")
"""

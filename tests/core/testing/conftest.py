"""Strangers' distributions that are not worth installing, and pytest on their suites."""

from __future__ import annotations

import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

PARTS = Path(__file__).parent / "parts"


class Result(NamedTuple):
    """How a test ended: ``passed``, ``failed``, ``error`` or ``skipped``, and what it said."""

    outcome: str
    message: str


Results = dict[tuple[str, str], Result]


class Stranger:
    """A folder on Python's path with modules, and metadata as pip would leave it there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add_module(self, name: str, text: str) -> None:
        (self.folder / f"{name}.py").write_text(text, encoding="utf-8")

    def add_distribution(self, name: str, entry_points: dict[str, dict[str, str]]) -> None:
        """Metadata of a distribution, with the entry points of each group."""
        info = self.folder / f"{name.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        lines = []
        for group, entries in entry_points.items():
            lines += [f"[{group}]", *(f"{key} = {value}" for key, value in entries.items()), ""]
        (info / "entry_points.txt").write_text("\n".join(lines))

    def run(self, suites: str, nodes: list[tuple[str, str]] | None = None) -> Results:
        """Run suites of ``parts/``, or some of their classes and tests, in a process of their own."""
        file = self.folder / "test_suites.py"
        file.write_text((PARTS / suites).read_text(encoding="utf-8"), encoding="utf-8")
        report = self.folder / "report.xml"
        names = [("", "")] if nodes is None else nodes
        chosen = ["::".join(filter(None, (str(file), cls, test))) for cls, test in names]
        environment = {**os.environ, "PYTHONPATH": str(self.folder), "OMP_NUM_THREADS": "1"}
        pytest_quietly = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider"]
        done = subprocess.run(
            [*pytest_quietly, f"--junitxml={report}", f"--rootdir={self.folder}", *chosen],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert report.exists(), done.stdout + done.stderr
        results: Results = {}
        for case in ElementTree.parse(report).iter("testcase"):
            test = case.attrib["classname"].rpartition(".")[2], case.attrib["name"]
            results.setdefault(test, _result_of(case))  # what its teardown says comes second
        return results


def _result_of(case: ElementTree.Element) -> Result:
    for kind, outcome in (("failure", "failed"), ("error", "error"), ("skipped", "skipped")):
        found = case.find(kind)
        if found is not None:
            return Result(outcome, f"{found.attrib.get('message', '')}\n{found.text or ''}")
    return Result("passed", "")


@pytest.fixture(scope="module")
def make_stranger(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Stranger]:
    """Makes a folder for distributions that are found by the processes that run suites."""
    return lambda: Stranger(tmp_path_factory.mktemp("stranger"))

"""The page for authors: its projects install, and their tests pass."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from drivetrain.testing import OptimizerSuite, PrecisionSuite, ReporterSuite, SchedulerSuite
from drivetrain.testing.suite import PartSuite
from drivetrain_registry import KINDS

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "writing-plugins.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)


def run(folder: Path, *command: str) -> str:
    """Run Python with what was installed in a folder beside what is installed here."""
    environment = {**os.environ, "PYTHONPATH": str(folder / "installed")}
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def install(folder: Path, project: str, module: str, code: str) -> None:
    (folder / "pyproject.toml").write_text(project)
    (folder / f"{module}.py").write_text(code)
    quietly = (
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "--disable-pip-version-check",
    )
    run(folder, "-m", "pip", "install", *quietly, "--target", str(folder / "installed"), ".")
    (folder / f"{module}.py").unlink()


@pytest.mark.slow
def test_the_optimizer_of_the_page_passes_the_tests_of_the_page(tmp_path: Path) -> None:
    code, test, use, *_ = blocks("python")
    install(tmp_path, blocks("toml")[0], "drivetrain_acme", code)
    (tmp_path / "test_acme.py").write_text(test)
    told = run(tmp_path, "-m", "pytest", "-p", "no:cacheprovider", "-W", "error", "test_acme.py")
    assert re.search(r"^=+ \d\d passed in ", told, re.MULTILINE), told
    run(tmp_path, "-c", use)
    shown = run(tmp_path, "-m", "drivetrain.cli", "plugins", "show", "acme_signum")
    assert "arXiv:1802.04434" in shown


@pytest.mark.slow
def test_the_reporter_of_the_page_passes_the_tests_of_the_page(tmp_path: Path) -> None:
    code, test = blocks("python")[3:5]
    install(tmp_path, blocks("toml")[1], "drivetrain_lines", code)
    (tmp_path / "test_lines.py").write_text(test)
    told = run(tmp_path, "-m", "pytest", "-p", "no:cacheprovider", "-W", "error", "test_lines.py")
    assert re.search(r"^=+ \d\d passed, 1 skipped in ", told, re.MULTILINE), told


@pytest.mark.slow
def test_the_schedule_of_the_page_passes_the_tests_of_the_page(tmp_path: Path) -> None:
    (tmp_path / "test_linear.py").write_text(blocks("python")[5])
    told = run(tmp_path, "-m", "pytest", "-p", "no:cacheprovider", "-W", "error", "test_linear.py")
    assert re.search(r"^=+ \d\d passed in ", told, re.MULTILINE), told


def test_every_snippet_is_run_by_one_of_these() -> None:
    assert (len(blocks("toml")), len(blocks("python"))) == (2, 6)


def test_every_test_of_optimizers_is_on_the_page() -> None:
    tests = {name for name in dir(OptimizerSuite) if name.startswith("test_")}
    first_column = re.findall(r"^\| (`test_.*?) \|", PAGE, flags=re.MULTILINE)
    assert set(re.findall(r"`(test_\w+)`", " ".join(first_column))) == tests


def test_every_attribute_of_suites_every_kind_and_every_suite_is_on_the_page() -> None:
    attributes = set(PartSuite.__annotations__) - {"kind"}
    assert [name for name in attributes if f"\n| `{name}` |" not in PAGE] == []
    assert [kind.group for kind in KINDS if f"| `{kind.group}` |" not in PAGE] == []
    suites = (OptimizerSuite, PrecisionSuite, ReporterSuite, SchedulerSuite)
    assert [suite.__name__ for suite in suites if f"| `{suite.__name__}`" not in PAGE] == []

"""The README is true: its snippet trains, its commands work, its numbers are what is printed."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

README = (Path(__file__).resolve().parents[3] / "plugins" / "report" / "README.md").read_text("utf-8")

Command = Callable[..., subprocess.CompletedProcess[str]]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def test_the_snippet_trains_and_the_commands_do_what_is_said(command: Command, tmp_path: Path) -> None:
    (snippet,) = blocks("python")
    subprocess.run([sys.executable, "-c", snippet], check=True, cwd=tmp_path, capture_output=True)
    report, schedule = (shlex.split(block)[1:] for block in blocks("sh"))
    done = command(*report, folder=tmp_path)
    assert done.stdout == "runs/0.1/report.html\nruns/0.1/report.png\n", done.stderr
    (printed,) = blocks("text")
    assert command(*schedule, folder=tmp_path).stdout.endswith(printed)


def test_reading_a_run_and_listing_commands_import_no_torch() -> None:
    program = (
        "import sys, drivetrain_report.command, drivetrain_report.schedule, drivetrain_report.page\n"
        "assert 'torch' not in sys.modules; assert 'matplotlib' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

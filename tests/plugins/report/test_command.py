"""`drivetrain report` as it is typed."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

Command = Callable[..., subprocess.CompletedProcess[str]]


def test_a_page_and_a_picture_lie_in_the_folder_of_the_first_run(command: Command, runs: Path) -> None:
    from PIL import Image

    script = Path(sys.executable).with_name("drivetrain")
    folders = [runs / name for name in ("good", "failed", "resumed")]
    done = subprocess.run(
        [script, "report", *folders, "--png"], capture_output=True, text=True, check=False
    )
    page, picture = runs / "good" / "report.html", runs / "good" / "report.png"
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{page}\n{picture}\n"
    text = page.read_text("utf-8")
    assert "<script>document" not in text
    assert "ArithmeticError: bad data &lt;script&gt;" in text
    outside = re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
    assert "What went wrong" in outside
    assert not re.search(r'(src|href)="(?!data:)|url\(', outside)
    with Image.open(picture) as image:
        assert image.width > 1000
        assert len(image.convert("RGB").getcolors(1 << 24) or ()) > 50
    again = command("report", runs / "good")  # its own page it replaces
    assert again.returncode == 0
    assert [path.name for path in (runs / "good").glob(".report-*")] == []


def test_a_file_of_somebody_else_stays_unless_it_is_forced(
    command: Command, odd_run: Path, tmp_path: Path
) -> None:
    file = tmp_path / "mine.html"
    file.write_text("mine")
    done = command("report", odd_run, "--output", file)
    assert done.returncode == 2
    assert "was not written by this command. Give another name, or type --force" in done.stderr
    assert file.read_text() == "mine"
    assert command("report", odd_run, "--output", file, "--force").returncode == 0
    assert "What went wrong" in file.read_text("utf-8")


def test_numbers_that_nothing_can_draw_are_gaps(command: Command, tmp_path: Path) -> None:
    lines = [
        {"step": 0, "event": "begin", "time": 1},
        {"step": 1, "time": 10**400, "train/loss": 10**400, "epoch": 10**400},
        {"step": 2, "time": 1e308, "train/loss": 1e308, "epoch": math.inf},
        {"step": 3, "time": -1e308, "train/loss": -1e308, "perf/data_share": 10**400},
        {"step": 10**400, "train/loss": 0.5, "train/non_finite_losses": 10**400},
        {"step": 5, "train/train_runtime": 10**400},
        {"step": 5, "event": "begin", "time": 1e308},
        {"step": 6, "time": 10**400, "train/loss": 0.5},
    ]
    texts = [json.dumps({"session": "s", **line}) for line in lines]
    (tmp_path / "log.jsonl").write_text("\n".join(texts) + "\n")
    done = command("report", tmp_path, "--png")
    assert (done.returncode, done.stderr) == (0, "")
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "1 value of train/loss is not finite: step 1." in page


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["gone"], "drivetrain report: RUN: there is no 'gone'. Give the `output_dir` of a run.\n"),
        (["."], "drivetrain report: RUN: there is no run in '.': neither log.jsonl"),
    ],
)
def test_what_is_no_run_is_a_line(
    command: Command, tmp_path: Path, words: list[str], reason: str
) -> None:
    done = command("report", *words, folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(reason)
    assert list(tmp_path.iterdir()) == []


def test_a_page_needs_the_name_of_a_page_and_a_folder(
    command: Command, odd_run: Path, tmp_path: Path
) -> None:
    done = command("report", odd_run, "--output", tmp_path / "page")
    assert "is no name of a page" in done.stderr
    done = command("report", odd_run, "--output", tmp_path / "none" / "page.html")
    assert "there is no folder" in done.stderr

"""The page about benchmarks: its commands work, its code runs, its table is of the results beside it."""

from __future__ import annotations

import importlib
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDER = REPOSITORY / "docs" / "benchmarks"
PAGE = (FOLDER / "README.md").read_text(encoding="utf-8")


def snippets(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What `python benchmarks` finds can be imported, and is forgotten after the test."""
    monkeypatch.syspath_prepend(str(REPOSITORY / "benchmarks"))
    before = set(sys.modules)
    for name in ("comparison", "report", "trainers"):
        importlib.import_module(name)
    yield
    for file in (REPOSITORY / "benchmarks").glob("*.py"):
        if file.stem not in before:
            sys.modules.pop(file.stem, None)


def test_the_commands_name_what_the_entry_knows() -> None:
    (commands,) = snippets("bash")
    listed = subprocess.run(
        [sys.executable, "benchmarks"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout
    names = [line.split()[0] for line in listed.splitlines()]
    for line in commands.splitlines():
        program, folder, *arguments = shlex.split(line, comments=True)
        assert (program, folder) == ("python", "benchmarks")
        assert set(arguments) <= {*names, "--quick"}


def links_of(page: str) -> set[str]:
    return set(re.findall(r"^\| \[.*?\]\((\w+)\.md\) ", page, flags=re.MULTILINE))


def test_the_table_has_the_results_that_are_there_and_links_to_their_pages() -> None:
    results = {file.stem: json.loads(file.read_text()) for file in FOLDER.glob("*.json")}
    with_goals = {
        name for name, result in results.items() if any(one["goal"] for one in result["comparisons"])
    }
    assert links_of(PAGE) == with_goals
    for name in results:
        assert (FOLDER / f"{name}.md").is_file()
        assert (FOLDER / f"{name}.png").is_file()


@pytest.mark.usefixtures("benchmarks")
def test_the_table_is_of_every_promise_in_a_folder_and_of_nothing_else(tmp_path: Path) -> None:
    report, comparison = (importlib.import_module(name) for name in ("report", "comparison"))
    kept = comparison.Comparison("Kept", "ms", "loop", {"loop": [2.0], "drivetrain": [3.0]}, ratio(2.0))
    broken = comparison.Comparison(
        "Broken", "ms", "loop", {"loop": [2.0], "drivetrain": [3.0]}, ratio(1.0)
    )
    zero = comparison.Comparison(
        "Zero", "reads", "loop", {"loop": [0.0], "drivetrain": [4.0]}, comparison.Goal(value=0.0)
    )
    free = comparison.Comparison("Free", "ms", "loop", {"loop": [2.0], "drivetrain": [3.0]})
    (tmp_path / "README.md").write_text(f"{PAGE}\nThe end.\n", encoding="utf-8")
    (tmp_path / "optimizers.json").write_text('{"run": {}, "names": {}}')
    (tmp_path / "cut.json").write_text('{"name": ')
    for name, quick, found in (("times", False, [kept, broken, free]), ("counts", True, [zero])):
        report.write_report(report.Report.of(name, "What it is.", quick, 1.0, found), tmp_path)
    page = (tmp_path / "README.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if re.match(r"\| \[", line)]
    assert [row.split(" | ")[:5] for row in rows] == [
        ["| [Zero](counts.md)", "loop", "at most 0", "4 reads", "**no**"],
        ["| [Kept](times.md)", "loop", "at most 2.00 of the reference", "1.500", "yes"],
        ["| [Broken](times.md)", "loop", "at most 1.00 of the reference", "1.500", "**no**"],
    ]
    assert links_of(page) == {"counts", "times"}
    assert page.endswith("\nThe end.\n")
    quick_page, whole_page = ((tmp_path / f"{name}.md").read_text() for name in ("counts", "times"))
    assert "\n**A quick run" in quick_page
    assert "quick" not in whole_page
    assert "| | reads |\n|---|---:|\n| loop | 0 |\n| **drivetrain** | 4 |\n" in quick_page
    assert "| **drivetrain** | 1.500 |  | 3 |" in whole_page


def ratio(limit: float) -> object:
    return sys.modules["comparison"].Goal(ratio=limit)


@pytest.mark.usefixtures("benchmarks")
def test_the_benchmark_that_is_shown_measures() -> None:
    code, _ = snippets("python")
    space: dict[str, object] = {"__name__": "sums"}
    exec(compile(code, "sums.py", "exec"), space)
    (comparison,) = space["measure"](True)  # type: ignore[operator]
    assert comparison.is_reached in (True, False)
    assert comparison.ratio("drivetrain") > 0


class Linear(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.layer = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"loss": nn.functional.cross_entropy(self.layer(x), labels)}


@pytest.mark.usefixtures("benchmarks")
@pytest.mark.parametrize("accumulation", [1, 2])
def test_the_trainer_that_is_shown_does_what_the_bare_loop_does(
    tmp_path: Path, accumulation: int
) -> None:
    trainers = sys.modules["trainers"]
    before = dict(trainers.SUBJECTS)
    _, code = snippets("python")
    exec(compile(code, "by_hand.py", "exec"), {"__name__": "by_hand"})
    data = [{"x": torch.ones(4), "labels": torch.tensor(1)}] * 8
    task = trainers.Task(Linear, data, 2, accumulation=accumulation, log_every=2, folder=str(tmp_path))
    made = [trainers.SUBJECTS[name](task).train(6).layer.weight for name in ("bare loop", "by hand")]
    trainers.SUBJECTS.clear()
    trainers.SUBJECTS.update(before)
    torch.testing.assert_close(made[1], made[0])
    assert len((tmp_path / "by-hand.jsonl").read_text().splitlines()) == 3

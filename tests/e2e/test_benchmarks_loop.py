"""The benchmark of the loop: it runs, and the trainers that it compares do the same work."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from projects import REPOSITORY
from torch import nn

BENCHMARKS = REPOSITORY / "benchmarks"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(BENCHMARKS), *arguments], capture_output=True, text=True, timeout=600
    )


def test_without_a_name_the_benchmarks_are_listed_and_none_is_run() -> None:
    done = run()
    assert done.returncode == 0, done.stderr
    listed = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert {"loop", "checkpoint", "optimizers"} <= set(listed)
    assert listed["loop"].startswith("An update of the training loop: ")
    assert not [name for name in listed if name.endswith("_subjects")]


def test_a_name_that_there_is_not_is_an_error_with_one_that_looks_like_it(tmp_path: Path) -> None:
    done = run("lop", "--output-dir", str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.startswith("There is no benchmark 'lop'. Did you mean 'loop'? There are: ")
    assert list(tmp_path.iterdir()) == []


def test_options_for_a_script_are_refused_where_there_is_none() -> None:
    done = run("loop", "--", "--steps", "3")
    assert (done.returncode, done.stdout) == (1, "")
    assert "'--steps 3'" in done.stderr


def test_a_script_is_started_with_its_own_options_and_has_no_output_dir_of_ours(tmp_path: Path) -> None:
    done = run("optimizers", "--", "--help")
    assert done.returncode == 0, done.stderr
    assert "--rate-search" in done.stdout
    done = run("loop", "optimizers", "--output-dir", str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("`--output-dir` is not for 'optimizers', a script with options")


def test_quick_goes_on_to_a_script_and_the_next_one_is_run_where_one_fails() -> None:
    done = run("optimizers", "checkpoint", "--quick", "--", "--no-such-option")
    assert done.returncode == 1
    assert done.stderr.count("unrecognized arguments: --no-such-option\n") == 2
    last = "optimizers failed: it ended with status 2\ncheckpoint failed: it ended with status 2\n"
    assert done.stderr.endswith(last)


def test_what_cannot_be_written_or_drawn_is_said_before_anything_is_measured(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = run("all", "loop", "--output-dir", str(tmp_path / "file" / "pages"))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("`--output-dir`: nothing can be written into ")
    code = (
        "import runpy, sys; sys.modules['matplotlib'] = None; sys.argv[1:] = ['grouping', '--quick']; "
        f"runpy.run_path({str(BENCHMARKS)!r}, run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("The picture needs matplotlib, which is not installed. Type `pip ")


@pytest.mark.slow
def test_the_benchmark_of_the_loop_writes_a_page_a_picture_and_figures(tmp_path: Path) -> None:
    done = run("loop", "--quick", "--output-dir", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "Where drivetrain is behind:" in done.stdout
    page, picture = (tmp_path / f"loop.{suffix}" for suffix in ("md", "png"))
    assert picture.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    results = json.loads((tmp_path / "loop.json").read_text())
    assert results["versions"]["torch"] == torch.__version__
    kinds = {one["title"].partition(" ")[0]: one for one in results["comparisons"]}
    assert set(kinds) == {"Instructions", "Bytecodes", "CPU", "Wall"}
    counted = kinds["Bytecodes"]
    assert counted["ratios"]["bare loop"] == 1
    assert counted["figures"]["drivetrain"] > 1000
    for one in results["comparisons"]:
        assert f"## {one['title']}\n" in page.read_text()
    promised = (
        f"| [{kinds['Instructions']['title']}](loop.md) | bare loop | at most 1.05 of the reference |"
    )
    assert promised in (tmp_path / "README.md").read_text()


@pytest.mark.slow
def test_the_functions_are_listed_that_spend_more_than_the_bare_loop() -> None:
    done = run("where", "--", "--rows", "5")
    assert done.returncode == 0, done.stderr
    first, second, *rows = done.stdout[done.stdout.index("Bytecodes of an update") :].splitlines()
    assert first.startswith("Bytecodes of an update: drivetrain ")
    assert second.split() == ["bytecodes", "more", "calls", "function"]
    assert len(rows) == 5
    assert any("training.py" in row and "run_update" in row for row in rows)


# -- the same work ----------------------------------------------------------------------------------


@pytest.fixture
def trainers(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The module of that name in benchmarks."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield importlib.import_module("trainers")
    sys.modules.pop("trainers")


class InOrder:
    """Samples that come in the same order, whatever a sampler asks for."""

    def __init__(self, count: int) -> None:
        self.rows = torch.randn(count, 16, generator=torch.Generator().manual_seed(0))
        self.num_read = 0

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        row = self.rows[self.num_read % len(self)]
        self.num_read += 1
        return {"x": row, "labels": (row.sum() > 0).long()}


class Linear(nn.Module):
    """A model of two classes, with the same weights whenever it is made."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.layer = nn.Linear(16, 2)

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        logits = self.layer(x)
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


NAMES = ("drivetrain", "transformers", "Accelerate", "Lightning", "ignite")
KINDS = {"plain": {}, "full": {"accumulation": 4, "log_every": 10}}


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # of other libraries
@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("name", NAMES)
def test_every_trainer_comes_to_the_weights_and_the_log_of_the_bare_loop(
    trainers: ModuleType, tmp_path: Path, name: str, options: dict[str, int]
) -> None:
    assert set(trainers.SUBJECTS) == {"bare loop", "bare loop with one group", *NAMES}
    if not trainers.SUBJECTS[name].is_installed():
        pytest.skip(f"{name} is not installed")

    def train(who: str) -> tuple[torch.Tensor, list[list[float]]]:
        folder = tmp_path / who
        folder.mkdir()
        task = trainers.Task(Linear, InOrder(512), batch_size=8, folder=str(folder), **options)
        subject = trainers.SUBJECTS[who](task)
        model = subject.train(40)
        weights = torch.cat([parameter.detach().flatten() for parameter in model.parameters()])
        return weights, read_log(folder / subject.log_file) if options else []

    weights, log = train(name)
    expected_weights, expected_log = train("bare loop")
    torch.testing.assert_close(weights, expected_weights, rtol=0, atol=1e-6)
    assert log == [pytest.approx(line, abs=1e-6) for line in expected_log]
    assert len(log) == (4 if options else 0)


def read_log(file: Path) -> list[list[float]]:
    """Step, loss and gradient norm of each log, by whatever name."""
    lines: list[dict[str, Any]] = [json.loads(line) for line in file.read_text().splitlines()]
    plain = [{key.removeprefix("train/"): value for key, value in line.items()} for line in lines]
    return [[line["step"], line["loss"], line["grad_norm"]] for line in plain if "grad_norm" in line]

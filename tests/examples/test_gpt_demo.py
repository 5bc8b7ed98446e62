"""The demo as a newcomer runs it: a process of its own, its output and its files."""

from __future__ import annotations

import re
import subprocess
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from drivetrain import TrainingArguments
from drivetrain.arguments import ArgumentsError
from drivetrain.parts import check_parts
from drivetrain_registry.catalogue import CATALOGUE

pytestmark = pytest.mark.slow

OPTIMIZERS = [name for kind, name in CATALOGUE if kind.name == "optimizer" and not name.endswith("*")]

GPT = Path(__file__).parents[2] / "examples" / "gpt"
PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Demo:
    """A demo that ended: where it ran, and what it said."""

    folder: Path
    returncode: int
    stdout: str
    stderr: str


def run_demo(folder: Path, *arguments: str, code: str | None = None) -> Demo:
    start = ["-c", code] if code else [str(GPT / "demo.py")]
    done = subprocess.run(
        [sys.executable, *start, *arguments],
        cwd=folder,
        check=False,
        capture_output=True,
        text=True,
        timeout=540,
    )
    return Demo(folder, done.returncode, done.stdout, done.stderr)


SHORT = ("--steps", "30", "--batch-size", "4", "--block-size", "32")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """A short run in a folder that holds the files of an earlier one."""
    folder = tmp_path_factory.mktemp("newcomer")
    earlier = folder / "demo-output" / "run-1"
    earlier.mkdir(parents=True)
    (earlier / "loss.png").write_text("mine")
    return run_demo(folder, *SHORT)


def test_it_ends_well_and_says_nothing_on_standard_error_but_how_it_goes_on(demo: Demo) -> None:
    assert demo.returncode == 0
    others = re.compile(r"step \d+/30, |Training |On cpu|Finished: |Interrupted|Stopped|Evaluation")
    assert [line for line in demo.stderr.splitlines() if line and not others.match(line)] == []


def test_an_earlier_run_is_left_as_it_was(demo: Demo) -> None:
    earlier = demo.folder / "demo-output" / "run-1"
    assert [path.name for path in earlier.iterdir()] == ["loss.png"]
    assert (earlier / "loss.png").read_text() == "mine"


def test_it_prints_losses(demo: Demo) -> None:
    losses = re.findall(r"^step \d+/30, epoch [\d.]+: loss [\d.]+, ", demo.stderr, flags=re.MULTILINE)
    assert len(losses) == 16


def test_it_says_where_it_stopped_and_that_it_resumed(demo: Demo) -> None:
    assert "Train for 18 updates" in demo.stdout
    assert "Evaluation loss at update 18: " in demo.stdout
    assert "Resume: a new model and a new trainer go on from the checkpoint" in demo.stdout
    assert "Evaluation loss at update 30: " in demo.stdout


def test_it_prints_what_the_model_writes(demo: Demo) -> None:
    written = (demo.folder / "demo-output" / "run-2" / "sample.txt").read_text(encoding="utf-8")
    assert len(written) > 400
    assert "   | The " in demo.stdout


def test_it_says_what_to_try_next(demo: Demo) -> None:
    for line in ("make demo OPTIM=muon", "tensorboard --logdir demo-output", "drivetrain plugins"):
        assert line in demo.stdout


def test_it_draws_a_picture(demo: Demo) -> None:
    assert (demo.folder / "demo-output" / "run-2" / "loss.png").read_bytes().startswith(PNG)


def test_it_keeps_both_checkpoints_and_the_model(demo: Demo) -> None:
    folder = demo.folder / "demo-output" / "run-2"
    assert sorted(path.name for path in folder.glob("checkpoint-*")) == [
        "checkpoint-18",
        "checkpoint-30",
    ]
    assert (folder / "model" / "model.safetensors").is_file()


def test_tensorboard_shows_one_curve_through_both_parts(demo: Demo) -> None:
    events = EventAccumulator(str(demo.folder / "demo-output" / "run-2" / "tensorboard")).Reload()
    assert [event.step for event in events.Scalars("train/loss")] == [1, *range(2, 31, 2)]
    assert [event.step for event in events.Scalars("eval/loss")] == list(range(0, 31, 3))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--optim", "adamw_troch"), "`optim`: 'adamw_troch' is not installed. Did you mean"),
        (("--scheduler", "cosin"), "`lr_scheduler_type`: 'cosin' is not installed. Did you mean"),
        (("--report-to", "tensorbord"), "`report_to`: 'tensorbord' is not installed. Did you mean"),
        (("--optim-args", "momentun=0.9"), "`optim_args`: 'momentun' is no option of 'adamw_torch'"),
    ],
)
def test_a_mistyped_name_ends_with_one_line(
    tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    demo = run_demo(tmp_path, *arguments)
    assert (demo.returncode, demo.stdout) == (2, "")
    assert demo.stderr.startswith(message)
    assert demo.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_it_begins_with_what_suits_the_optimizer(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(GPT))
    from starts import find_start

    said = problems_and_warnings_of(name, find_start(name), tmp_path)
    assert [text for text in said if not text.startswith("`optim`: ")] == []  # that is its device


def problems_and_warnings_of(name: str, start: Any, folder: Path) -> list[str]:
    """What the arguments for a run with an optimizer have to say."""
    try:
        args = TrainingArguments(
            str(folder),
            optim=name,
            optim_args=start.optim_args,
            optim_target_modules=start.target_modules,
            learning_rate=start.learning_rate,
            max_grad_norm=start.max_grad_norm,
            lr_scheduler_type=start.scheduler,
            report_to="none",
            use_cpu=True,
        )
    except ArgumentsError as error:
        return error.problems
    return check_parts(args).warnings


def test_a_layerwise_low_rank_optimizer_runs_without_further_options(tmp_path: Path) -> None:
    demo = run_demo(tmp_path, *SHORT, "--optim", "apollo_adamw_layerwise", "--report-to", "none")
    assert demo.returncode == 0, demo.stderr
    assert "Evaluation loss at update 30: " in demo.stdout


def test_a_schedule_free_optimizer_runs_without_a_schedule(tmp_path: Path) -> None:
    demo = run_demo(tmp_path, *SHORT, "--optim", "schedule_free_adamw", "--report-to", "none")
    assert demo.returncode == 0, demo.stderr
    assert "schedule   constant, 30 updates" in demo.stdout
    assert "Evaluation loss at update 30: " in demo.stdout


def test_modules_that_the_model_does_not_have_end_with_one_line(tmp_path: Path) -> None:
    demo = run_demo(tmp_path, *SHORT, "--optim", "galore_adamw", "--target-modules", "lm_head")
    assert demo.returncode == 2
    assert demo.stderr.startswith("`optim_target_modules`: 'lm_head' matches no nn.Linear")
    assert demo.stderr.count("\n") == 1


def test_several_mistakes_are_all_listed(tmp_path: Path) -> None:
    demo = run_demo(tmp_path, "--optim", "adamw_troch", "--scheduler", "cosin")
    assert demo.returncode == 2
    assert demo.stderr.startswith("2 problems with the arguments:\n1. ")
    assert "Traceback" not in demo.stderr


WITHOUT_MATPLOTLIB = f"""
import runpy, sys
sys.modules["matplotlib"] = None
sys.path.insert(0, {str(GPT)!r})
sys.argv[0] = {str(GPT / "demo.py")!r}
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_without_matplotlib_it_says_what_to_install(tmp_path: Path) -> None:
    demo = run_demo(tmp_path, *SHORT, "--report-to", "none", code=WITHOUT_MATPLOTLIB)
    assert demo.returncode == 0, demo.stderr
    assert "No picture: matplotlib is not installed. Type: pip install matplotlib" in demo.stdout
    folder = tmp_path / "demo-output" / "run-1"
    assert not (folder / "loss.png").exists()
    assert not (folder / "tensorboard").exists()

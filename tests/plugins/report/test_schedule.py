"""`drivetrain schedule`: the rates are those of a training, and what is typed wrong is said."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from small import make_trainer

from drivetrain import UsageError
from drivetrain_report import terminal
from drivetrain_report.rates import Rates, Request, compute_rates, count_warmup

pytestmark = pytest.mark.slow

Command = Callable[..., subprocess.CompletedProcess[str]]


def test_the_rates_are_those_of_a_training(tmp_path: Path) -> None:
    trainer = make_trainer(
        output_dir=tmp_path, max_steps=10, warmup_steps=3, lr_scheduler_type="cosine", learning_rate=0.02
    )
    trainer.train()
    logged = [entry["learning_rate"] for entry in trainer.state.log_history if "learning_rate" in entry]
    rates = compute_rates("cosine", None, Request(10, 3, 0.02))
    assert list(rates.values) == pytest.approx(logged)
    assert (rates.peak, rates.peak_step) == (0.02, 4)


def test_options_and_names_are_those_of_the_arguments() -> None:
    square = compute_rates("polynomial", "power=2, lr_end=0.0", Request(4, 0, 1.0))
    assert list(square.values) == pytest.approx([1, 0.5625, 0.25, 0.0625])
    assert square.title == "polynomial, power=2, lr_end=0.0"
    assert compute_rates("drivetrain-torch:linear", None, Request(2, 0, 1.0)).values == [1, 0.5]


@pytest.mark.parametrize(("warmup", "count"), [(0, 0), (0.1, 100), (0.0001, 1), (1, 1), (250, 250)])
def test_a_warmup_is_a_number_or_a_share(warmup: float, count: int) -> None:
    assert count_warmup(warmup, 1000) == count


@pytest.mark.parametrize("warmup", [-1, 1.5, 1001, float("nan")])
def test_any_other_warmup_is_refused(warmup: float) -> None:
    with pytest.raises(UsageError, match="`--warmup`"):
        count_warmup(warmup, 1000)


def test_schedules_are_drawn_and_described(command: Command, tmp_path: Path) -> None:
    from PIL import Image

    words = ("schedule", "cosine", "--steps", 200, "--warmup", 0.1, "--learning-rate", 0.1)
    done = command(*words, "--compare", "linear", "constant", "--output", "a.png", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "peak 0.1 at step 21" in done.stdout
    assert done.stdout.count(" +-----") == 3
    assert done.stdout.splitlines()[-1].startswith("constant  first 0.1, peak 0.1 at step 1, mean 0.1")
    assert "it does not warm up" in done.stdout.splitlines()[-1]
    assert "it does not warm up" not in done.stdout.splitlines()[-2]
    assert done.stderr == "a.png\n"
    with Image.open(tmp_path / "a.png") as image:
        assert image.width > 800


def test_a_page_of_schedules_loads_nothing_and_does_not_replace_what_is_not_its_own(
    command: Command, tmp_path: Path
) -> None:
    for _ in range(2):
        done = command("schedule", "linear", "--output", "a.html", folder=tmp_path)
        assert done.returncode == 0, done.stderr
    assert 'src="http' not in (tmp_path / "a.html").read_text("utf-8")
    (tmp_path / "a.html").write_text("mine")
    assert command("schedule", "linear", "--output", "a.html", folder=tmp_path).returncode == 2
    assert (tmp_path / "a.html").read_text() == "mine"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["cosin"], "`lr_scheduler_type`: 'cosin' is not installed. Did you mean 'cosine'?"),
        (["cosine", "--options", "cycles=2"], "'cycles' is no option of 'cosine'"),
        (["linear", "--compare", "lineal"], "Did you mean 'linear'?"),
        (["reduce_lr_on_plateau"], "What it does shows in a training only."),
        (["linear", "--steps", "0"], "`--steps`: 0 is no number of updates"),
        (["linear", "--learning-rate", "-1"], "`--learning-rate`: -1 is no rate above 0."),
        (["linear", "--output", "a.gif"], "is neither a .png nor a .html. Type --output a.png\n"),
        (["linear, power=2", "--options", "power=3"], "has options already"),
    ],
)
def test_what_cannot_be_drawn_is_a_line(
    words: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from drivetrain.cli import main

    assert main(["schedule", *words]) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith("drivetrain schedule: ")
    assert reason in shown.err
    assert shown.out == ""


def test_a_terminal_without_braille_gets_stars(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    rates = Rates("falling", [1 - i / 100 for i in range(100)], Request(100, 0, 1.0))
    lines = terminal.draw_lines(rates, [rates])
    assert all(line.isascii() for line in lines)
    columns = [line.index("*") for line in lines if "*" in line]
    assert len(columns) == 10
    assert columns == sorted(columns)


def test_a_second_name_is_for_compare(capsys: pytest.CaptureFixture[str]) -> None:
    from drivetrain.cli import main

    assert main(["schedule", "linear", "cosine"]) == 2
    assert "Type --compare cosine" in capsys.readouterr().err

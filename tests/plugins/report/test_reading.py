"""What is read of a run is what its trainer knew, and what went wrong is said."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from drivetrain import TrainingArguments, UsageError
from drivetrain_report.charts import arrange
from drivetrain_report.runs import read_run, read_runs
from drivetrain_report.series import Series
from drivetrain_report.thinning import MOST_POINTS, thin
from drivetrain_report.troubles import describe_outcome, find_troubles

pytestmark = pytest.mark.slow


def history_of(folder: Path) -> list[dict[str, Any]]:
    """The log history of a run's last checkpoint."""
    newest = max(folder.glob("checkpoint-*"), key=lambda path: int(path.name.partition("-")[2]))
    history: list[dict[str, Any]] = json.loads((newest / "trainer_state.json").read_text())[
        "log_history"
    ]
    return history


def texts_of(folder: Path) -> str:
    return "\n".join(trouble.text for trouble in find_troubles(read_run(folder)))


@pytest.mark.parametrize("name", ["loss", "grad_norm", "learning_rate", "eval_loss", "eval_accuracy"])
def test_the_curves_are_the_trainers_history(runs: Path, name: str) -> None:
    reported = f"eval/{name[5:]}" if name.startswith("eval_") else f"train/{name}"
    series = read_run(runs / "good").logged.series[reported]
    found = list(zip(series.steps, series.values, strict=True))
    assert found == [(e["step"], e[name]) for e in history_of(runs / "good") if name in e]
    assert len(found) == (4 if name.startswith("eval") else 12)
    assert all(time is not None and time >= 0 for time in series.times)


def test_a_resumed_run_is_one_curve(runs: Path) -> None:
    run = read_run(runs / "resumed")
    assert run.logged.series["train/loss"].steps == list(range(1, 15))
    start = run.parts[1].start_step
    assert [(part.start_step, part.last_step) for part in run.parts] == [(0, 9), (start, 14)]
    assert start in (8, 9)
    assert f"It was resumed from step {start}" in texts_of(runs / "resumed")


def test_how_runs_ended_is_known(runs: Path, odd_run: Path) -> None:
    outcomes = [describe_outcome(read_run(runs / name)) for name in ("good", "failed", "resumed")]
    assert outcomes == ["finished", "failed", "finished"]
    assert describe_outcome(read_run(odd_run)) == "no end was logged"


def test_an_error_is_said_with_its_step(runs: Path) -> None:
    (trouble,) = find_troubles(read_run(runs / "failed"))
    assert trouble.is_serious
    assert trouble.text.startswith("It failed at step 7: ")
    assert "bad data" in trouble.text
    assert find_troubles(read_run(runs / "good")) == []


def test_kills_gaps_and_numbers_that_are_none_are_said(odd_run: Path) -> None:
    assert texts_of(odd_run).splitlines() == [
        "It was killed, or is still running: nothing was logged after step 60.",
        "3 values of train/loss are not finite: steps 5, 6 and 50.",
        "No loss was logged between the steps 30 and 41.",
    ]


def test_without_its_log_a_run_is_read_from_its_newest_checkpoint(runs: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(runs / "good", tmp_path / "good")
    (folder / "log.jsonl").unlink()
    run, full = read_run(folder), read_run(runs / "good")
    assert run.source == folder / "checkpoint-12" / "trainer_state.json"
    for name in ("train/loss", "eval/accuracy"):
        assert run.logged.series[name].values == full.logged.series[name].values
    assert run.config["max_steps"] == 12
    assert run.versions["torch"]
    assert describe_outcome(run) == "finished"


def test_a_checkpoint_that_was_damaged_is_not_whole(runs: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(runs / "good", tmp_path / "good")
    (folder / "checkpoint-6" / "optimizer.pt").unlink()
    model = folder / "checkpoint-12" / "model.safetensors"
    size = model.stat().st_size
    model.write_bytes(model.read_bytes()[:-1])
    run = read_run(folder)
    faults = {checkpoint.step: checkpoint.fault for checkpoint in run.checkpoints if checkpoint.fault}
    assert faults == {
        6: "optimizer.pt is missing",
        12: f"model.safetensors has {size - 1} bytes of {size}",
    }
    assert "checkpoint-6 is not whole: optimizer.pt is missing." in texts_of(folder)
    assert {c.fault for c in read_run(runs / "good").checkpoints} == {""}
    assert run.best_checkpoint.startswith("checkpoint-")


TRANSFORMERS = """
import os
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
import sys
from both_trainers import make_small_net
from small import make_samples
from transformers import Trainer, TrainingArguments
args = TrainingArguments(sys.argv[1], max_steps=4, logging_steps=1, eval_strategy="steps", eval_steps=2,
    save_steps=2, report_to="none", use_cpu=True, disable_tqdm=True)
Trainer(make_small_net(), args, train_dataset=make_samples(), eval_dataset=make_samples(8)).train()
"""


@pytest.mark.parity
def test_a_run_of_transformers_is_read(tmp_path: Path) -> None:
    support = Path(__file__).resolve().parents[2] / "support"
    script = f"import sys; sys.path.insert(0, {str(support)!r})\n{TRANSFORMERS}"
    subprocess.run(
        [sys.executable, "-c", script, tmp_path], check=True, capture_output=True, timeout=120
    )
    run = read_run(tmp_path)
    history = history_of(tmp_path)
    losses = run.logged.series["train/loss"]
    assert losses.values == [entry["loss"] for entry in history if "loss" in entry]
    assert losses.steps == [1, 2, 3, 4]
    assert run.logged.series["eval/loss"].steps == [2, 4]
    assert [(c.step, c.has_manifest, c.fault) for c in run.checkpoints] == [
        (2, False, ""),
        (4, False, ""),
    ]
    assert find_troubles(run) == []


# -- what is no run ------------------------------------------------------------------------------


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="RUN: there is no .*gone"):
        read_run(tmp_path / "gone")


def test_a_folder_without_a_run_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"neither log\.jsonl.* nor trainer_state\.json"):
        read_run(tmp_path)


def test_a_folder_of_runs_names_them(runs: Path) -> None:
    with pytest.raises(UsageError, match="has 3 runs in it. Type one or more of: .*good"):
        read_run(runs)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("log.jsonl", ""),
        ("log.jsonl", "no JSON\n[1]\n"),
        ("trainer_state.json", "{"),
        ("trainer_state.json", '{"log_history": 3}'),
    ],
)
def test_a_broken_file_is_an_error_that_names_it(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(UsageError, match=f"{name}' is broken"):
        read_run(tmp_path)


def test_a_log_in_a_folder_of_its_own_is_found(tmp_path: Path, runs: Path) -> None:
    (tmp_path / "run" / "logs").mkdir(parents=True)
    shutil.copy(runs / "good" / "log.jsonl", tmp_path / "run" / "logs")
    assert read_run(tmp_path / "run").logged.series["train/loss"].steps == list(range(1, 13))
    assert read_run(tmp_path / "run" / "logs" / "log.jsonl").logged.series


def test_runs_of_one_name_are_told_apart(tmp_path: Path, runs: Path) -> None:
    shutil.copytree(runs / "resumed", tmp_path / "resumed")
    paths = [str(runs / "resumed"), str(tmp_path / "resumed")]
    assert [run.name for run in read_runs(paths)] == [f"resumed ({path})" for path in paths]


# -- curves ----------------------------------------------------------------------------------------


def test_every_number_that_was_logged_is_in_one_chart(runs: Path) -> None:
    both = read_runs([str(runs / "good"), str(runs / "failed")])
    sections = arrange(both)
    assert [section.title for section in sections][:2] == ["Training", "Evaluation"]
    curves = [curve for section in sections for chart in section.charts for curve in chart.curves]
    drawn = [(curve.run, curve.name) for curve in curves]
    logged = {
        (position, name)
        for position, run in enumerate(both)
        for name, series in run.logged.series.items()
        if "non_finite" not in name or any(series.values)
    }
    assert len(drawn) == len(set(drawn))
    assert set(drawn) == logged


def test_a_long_curve_keeps_its_extremes_and_what_is_not_finite() -> None:
    count = 50_000
    values = [math.sin(i / 1000) for i in range(count)]
    values[777], values[40_001], values[30_000] = 9.0, -9.0, math.nan
    steps = list(range(count))
    long = Series(steps, [None] * count, [None] * count, values)
    thinned = thin(long)
    assert len(thinned.steps) <= MOST_POINTS + 3
    assert {0, 777, 30_000, 40_001, count - 1} <= set(thinned.steps)
    assert thinned.steps == sorted(thinned.steps)
    assert [values[step] for step in thinned.steps if step != 30_000] == [
        value for value in thinned.values if not math.isnan(value)
    ]
    every = thin(long, keeps_extremes=False)
    assert {b - a for a, b in zip(every.steps, every.steps[1:], strict=False)} == {17}


def test_arguments_of_a_run_are_those_it_was_given(runs: Path) -> None:
    config = read_run(runs / "failed").config
    assert config["learning_rate"] == 0.05
    assert config["accelerator_config.split_batches"] is False
    arguments = TrainingArguments("out", report_to="none", use_cpu=True).to_dict()
    assert set(arguments) <= {name.partition(".")[0] for name in config}

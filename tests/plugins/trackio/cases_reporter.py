"""What the reporter keeps, read back from Trackio's database and with its `Api`."""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small import are_equal, make_net, make_trainer, weights_of

from drivetrain import Image, Trainer, TrainerCallback, TrainingArguments
from drivetrain.plugin import Run
from drivetrain.testing import ReporterSuite
from drivetrain_trackio.options import TrackioOptions
from drivetrain_trackio.reporter import Trackio

OUTSIDE = ("TRACKIO_PROJECT", "TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL", "TRACKIO_BUCKET_ID", "HF_TOKEN")


@pytest.fixture(scope="session", autouse=True)
def databases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the databases, which Trackio asks for once."""
    folder = tmp_path_factory.mktemp("trackio")
    os.environ["TRACKIO_DIR"] = str(folder)
    return folder


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A project of each test's own, which the environment names; no login from outside."""
    for name in OUTSIDE:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "no-token"))
    name = f"p{abs(hash(tmp_path)) % 10**8}"
    monkeypatch.setenv("TRACKIO_PROJECT", name)
    return name


def read_rows(databases: Path, project: str, run: str | None = None) -> list[dict[str, Any]]:
    """The rows of a project, as they are in its file."""
    with sqlite3.connect(databases / f"{project}.db") as connection:
        found = connection.execute("SELECT run_name, step, metrics FROM metrics ORDER BY id").fetchall()
    connection.close()
    return [{"step": step, **json.loads(values)} for name, step, values in found if run in (None, name)]


class TestTrackio(ReporterSuite):
    name = "trackio"

    @pytest.fixture(autouse=True)
    def where(self, databases: Path, project: str) -> None:
        self.databases, self.project = databases, project

    def read_back(self, folder: Path) -> list[dict[str, Any]]:
        return read_rows(self.databases, self.project)


class BurstsAtStep(TrainerCallback):
    """Raises after an update; reports a text and a picture at the second."""

    def __init__(self, step: int) -> None:
        self.step = step
        self.trainer: Trainer | None = None

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == 2 and self.trainer is not None:
            pixels = np.full((4, 6, 3), 200, np.uint8)
            self.trainer.report({"samples/text": "it was", "samples/picture": Image(pixels, "grey")})
        if state.global_step == self.step:
            raise ArithmeticError("it burst")


def train(folder: Path, **options: Any) -> Trainer:
    arguments: dict[str, Any] = {
        "output_dir": str(folder / "out"),
        "report_to": "trackio",
        "eval_strategy": "steps",
        "eval_steps": 3,
        "save_strategy": "steps",
        "save_steps": 3,
        "run_name": "a name",
    }
    return make_trainer(**{**arguments, **options})


def test_a_run_arrives_whole_and_goes_on_without_a_step_twice(
    tmp_path: Path, databases: Path, project: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """It fails after five updates of six, of which three are in a checkpoint, and is resumed from there."""
    bursts = BurstsAtStep(5)
    first = bursts.trainer = train(tmp_path, callbacks=[bursts])
    with pytest.raises(ArithmeticError):
        first.train()
    second = train(tmp_path)
    second.train(resume_from_checkpoint=True)
    alone = train(tmp_path, output_dir=str(tmp_path / "alone"), report_to="none")
    alone.train()
    assert are_equal(weights_of(second), weights_of(alone))

    import trackio

    (run,) = trackio.Api().runs(project)
    assert run.name == "a name"
    assert run.config["learning_rate"] == 1e-2
    assert run.config["model/num_parameters"] == sum(p.numel() for p in first.model.parameters())
    (alert,) = run.alerts()
    assert (alert["title"], alert["level"]) == ("The run failed", "error")
    assert "it burst" in alert["text"]

    rows = read_rows(databases, project)
    history = second.state.log_history
    losses = [(row["step"], row["train/loss"]) for row in rows if "train/loss" in row]
    assert losses == [(entry["step"], entry["loss"]) for entry in history if "loss" in entry]
    evaluated = [(row["step"], row["eval/loss"]) for row in rows if "eval/loss" in row]
    assert evaluated == [
        (entry["step"], entry["eval_loss"]) for entry in history if "eval_loss" in entry
    ]
    outcomes = [(row["step"], row["run/outcome"]["_value"]) for row in rows if "run/outcome" in row]
    assert outcomes == [(5, "failed"), (6, "finished")]
    (text,) = [row["samples/text"] for row in rows if "samples/text" in row]
    (picture,) = [row["samples/picture"] for row in rows if "samples/picture" in row]
    assert text["_value"] == "it was"
    assert picture["caption"] == "grey"
    assert (databases / "media" / picture["file_path"]).is_file()
    told = capfd.readouterr()
    assert "rackio" not in told.out + told.err


def make_reporter(tmp_path: Path, **options: Any) -> Trackio:
    args = TrainingArguments(str(tmp_path / "out"), report_to="none", project="argument")
    return Trackio(args, TrackioOptions(**options))


def test_new_runs_of_one_name_stay_apart(tmp_path: Path, project: str) -> None:
    for loss in (1.0, 2.0):
        reporter = make_reporter(tmp_path)
        reporter.open(Run("a run", {}, make_net(), 0))
        reporter.log({"train/loss": loss}, 1)
        reporter.close("finished")
    assert reporter.state() == {"project": project, "name": "a run-2"}


def test_steps_that_are_there_already_are_said_and_a_run_from_scratch_has_none(
    tmp_path: Path, databases: Path, project: str, caplog: pytest.LogCaptureFixture
) -> None:
    reporter = make_reporter(tmp_path)
    for start in (0, 1, 0):
        state = reporter.state() if start else {}
        reporter.prepare()
        with caplog.at_level(logging.INFO, "drivetrain"):
            reporter.open(Run("a run", {}, make_net(), start, state=state))
        for step in range(start + 1, 4):
            reporter.log({"train/loss": step / 4}, step)
        reporter.close("finished")
    for name in ("a run", "a run-2"):
        rows = read_rows(databases, project, name)
        assert [row["step"] for row in rows if "train/loss" in row] == [1, 2, 3]
    (said,) = [r.getMessage() for r in caplog.records if "are there already" in r.getMessage()]
    assert "the steps 2 to 3 are there already" in said


def test_an_option_comes_before_the_environment_and_that_before_the_argument(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _project_of(make_reporter(tmp_path, project="typed")) == "typed"
    monkeypatch.setenv("TRACKIO_PROJECT", "environment")
    assert _project_of(make_reporter(tmp_path)) == "environment"
    monkeypatch.delenv("TRACKIO_PROJECT")
    assert _project_of(make_reporter(tmp_path)) == "argument"


def _project_of(reporter: Trackio) -> str:
    reporter.open(Run("a run", {}, make_net(), 0))
    reporter.close("finished")
    return str(reporter.state()["project"])


def test_a_run_that_the_script_began_is_used_and_left_running(
    tmp_path: Path, databases: Path, project: str, capsys: pytest.CaptureFixture[str]
) -> None:
    import trackio

    mine = trackio.init(project=project, name="my own", auto_log_cpu=False, embed=False)
    assert "my own" in capsys.readouterr().out  # the script's own calls print as ever
    train(tmp_path, max_steps=2, eval_strategy="no", save_strategy="no").train()
    assert trackio.context_vars.current_run.get() is mine
    trackio.log({"mine": 1.0}, step=3)
    trackio.finish()
    trackio.context_vars.current_run.set(None)
    (run,) = trackio.Api().runs(project)
    assert run.config["learning_rate"] == 1e-2
    rows = read_rows(databases, project, "my own")
    assert [row["step"] for row in rows if "train/loss" in row] == [1, 2]
    assert rows[-1] == {"step": 3, "mine": 1.0}


@pytest.mark.parametrize(
    ("variables", "text"),
    [
        ({"TRACKIO_SPACE_ID": "me/here"}, "no login for the Space 'me/here'. Type `hf auth login`"),
        ({"TRACKIO_SERVER_URL": "here"}, "TRACKIO_SERVER_URL='here', which is no address"),
        ({"TRACKIO_SERVER_URL": "http://here"}, "Type TRACKIO_WRITE_TOKEN"),
    ],
)
def test_a_problem_says_what_to_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], text: str
) -> None:
    assert not list(make_reporter(tmp_path).problems())
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    (problem,) = make_reporter(tmp_path).problems()
    assert text in problem


def test_what_is_no_value_is_left_out_with_one_warning(
    tmp_path: Path, databases: Path, project: str, caplog: pytest.LogCaptureFixture
) -> None:
    reporter = make_reporter(tmp_path)
    reporter.open(Run("a run", {}, make_net(), 0))
    with caplog.at_level(logging.WARNING, "drivetrain"):
        reporter.log({"eval/matrix": [[1]], "eval/loss": float("nan")}, 1)
        reporter.log({"eval/matrix": [[1]]}, 2)
    reporter.close("finished")
    assert [record.getMessage() for record in caplog.records] == [
        "Trackio: 'eval/matrix' is left out, now and in what follows: a list is nothing that it takes."
    ]
    assert read_rows(databases, project)[0] == {"step": 1, "eval/loss": "NaN"}


def test_naming_the_reporter_imports_no_trackio() -> None:
    script = (
        "import sys; from drivetrain import TrainingArguments; "
        "TrainingArguments('out', report_to='trackio'); assert 'trackio' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=300)

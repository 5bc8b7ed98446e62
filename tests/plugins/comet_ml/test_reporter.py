"""What the reporter sends, read back from the archives that Comet writes without a network."""

from __future__ import annotations

import io
import json
import logging
import math
import os
import random
import subprocess
import sys
import textwrap
import threading
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Pictures
from tests.support.small import are_equal, make_args, make_net, make_trainer, weights_of

from drivetrain.parts import load_reporter
from drivetrain.plugin import Image, ReporterPlugin, Run
from drivetrain.testing import ReporterSuite
from drivetrain.testing.recording import EndsAtStep
from drivetrain_comet_ml.library import load_comet

pytestmark = pytest.mark.slow

CHOSEN_KEY = "drivetrain0123456789abcdef0123456789"


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing is set but that there is no network."""
    for name in (
        "API_KEY",
        "MODE",
        "START_MODE",
        "PROJECT_NAME",
        "WORKSPACE",
        "EXPERIMENT_KEY",
        "LOG_ASSETS",
    ):
        monkeypatch.delenv(f"COMET_{name}", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COMET_START_ONLINE", "false")
    monkeypatch.setenv("COMET_OFFLINE_DIRECTORY", str(tmp_path / "archives"))


class Archive:
    """What is in an archive, by kind."""

    def __init__(self, path: Path) -> None:
        with zipfile.ZipFile(path) as archive:
            self.about = json.loads(archive.read("experiment.json"))
            lines = archive.read("messages.json").decode().splitlines()
            self.files = {name: archive.read(name) for name in archive.namelist()}
        self.messages = [json.loads(line) for line in lines]

    def find(self, kind: str) -> list[dict[str, Any]]:
        return [message["payload"] for message in self.messages if message["type"] == kind]

    @property
    def metrics(self) -> list[tuple[int, str, Any]]:
        found = [payload["metric"] for payload in self.find("metric_msg")]
        return [(one["step"], one["metricName"], one["metricValue"]) for one in found]

    @property
    def parameters(self) -> dict[str, Any]:
        found = [payload.get("param") or payload["params"] for payload in self.find("parameter_msg")]
        return {one["paramName"]: one["paramValue"] for one in found}

    @property
    def others(self) -> dict[str, Any]:
        return {payload["key"]: payload["value"] for payload in self.find("log_other")}

    @property
    def uploads(self) -> dict[str, bytes]:
        """Contents by name, or by that which the reporter gave a text."""
        return {
            (one["metadata"] or {}).get("name") or _name_of_file(one["additional_params"]): self.files[
                one["file_path"]
            ]
            for one in self.find("file_upload")
        }


def _name_of_file(about: dict[str, Any]) -> str:
    return str(about.get("fileName") or about.get("figName"))


def read_archives(folder: Path) -> list[Archive]:
    paths = sorted((folder / "archives").glob("*.zip"), key=lambda path: path.stat().st_mtime_ns)
    return [Archive(path) for path in paths]


class TestComet(ReporterSuite):
    name = "comet_ml"

    def read_back(self, folder: Path) -> list[dict[str, Any]]:
        metrics = [metric for archive in read_archives(folder) for metric in archive.metrics]
        return [{"step": step, name: value} for step, name, value in metrics if step is not None]


def make(folder: Path, **arguments: Any) -> ReporterPlugin:
    args = make_args(folder / "out", report_to="comet_ml", **arguments)
    return load_reporter(args, "comet_ml")


def begin(
    folder: Path, state: dict[str, Any] | None = None, start_step: int = 0, **options: Any
) -> ReporterPlugin:
    """A reporter that is open."""
    reporter = make(folder, reporter_args={"comet_ml": options})
    reporter.prepare()
    reporter.open(Run("a run", {"a": 1}, make_net(), start_step, state=state or {}))
    return reporter


RUN: dict[str, Any] = {
    "save_strategy": "steps",
    "save_steps": 4,
    "eval_strategy": "steps",
    "eval_steps": 3,
    "run_name": "first",
    "seed": 11,
}


class Reported:
    """A run that was reported, in all that a run has."""

    def __init__(self, folder: Path) -> None:
        random.seed(3)
        self.trainer = make_trainer(
            output_dir=str(folder / "out"), report_to="comet_ml", project="lines", **RUN
        )
        self.trainer.train()
        self.weights = weights_of(self.trainer)
        self.drawn = random.random()
        (self.archive,) = read_archives(folder)


@pytest.fixture
def reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reported:
    monkeypatch.setenv("COMET_LOG_ASSETS", "TRUE")
    return Reported(tmp_path)


def test_a_run_is_in_its_archive_and_is_the_run_that_it_would_be_without(
    reported: Reported, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    archive, trainer = reported.archive, reported.trainer
    logged = [
        (entry["step"], f"eval/{name[5:]}" if name.startswith("eval_") else f"train/{name}", value)
        for entry in trainer.state.log_history
        for name, value in entry.items()
        if name != "step"
    ]
    assert [one for one in archive.metrics if one[1].startswith(("train/", "eval/"))] == logged
    assert archive.about["project_name"] == "lines"
    assert archive.others["Name"] == "first"
    assert archive.others["run/outcome"] == "finished"
    assert archive.others["num_parameters"] == 195
    assert not archive.about["customer_error_reported"]
    assert archive.parameters["args|learning_rate"] == 1e-2
    assert archive.parameters["args|seed"] == 11
    weights = (tmp_path / "out" / "checkpoint-4" / "model.safetensors").read_bytes()
    assert archive.uploads["checkpoint-4/model.safetensors"] == weights
    assert any("model.safetensors" in name and "checkpoint" not in name for name in archive.uploads)
    automatic = {"sys.", "git", "Python", "os", "pip", "hostname", "run_cmd"}
    found = {name for name in archive.others if name.startswith(tuple(automatic))}
    assert found <= {"sys.already_imported_modules"}  # which no argument keeps it from noting

    random.seed(3)
    alone = make_trainer(output_dir=str(tmp_path / "alone"), **RUN)
    alone.train()
    assert are_equal(reported.weights, weights_of(alone))
    assert reported.drawn == random.random()
    said = capfd.readouterr()
    assert "COMET" not in said.out + said.err


def test_the_import_changes_nothing_in_the_process(tmp_path: Path) -> None:
    code = """
        import logging, os, random, sys, threading
        import drivetrain_comet_ml.reporter
        assert "comet_ml" not in sys.modules
        before = sys.excepthook, list(sys.meta_path), random.getstate(), dict(os.environ)
        from drivetrain_comet_ml.library import load_comet
        comet_ml = load_comet()
        assert before == (sys.excepthook, list(sys.meta_path), random.getstate(), dict(os.environ))
        assert "sentry" not in str(logging.getLogger("comet_ml").handlers) + str(threading.enumerate())
        from comet_ml.utils import random_ascii_string
        random_ascii_string(8)
        assert before[2] == random.getstate()
    """
    run_python(code, tmp_path)


def run_python(code: str, folder: Path, **environment: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done


def test_a_resumed_run_goes_on_with_its_experiment_and_no_step_is_there_twice(tmp_path: Path) -> None:
    options = {**RUN, "output_dir": str(tmp_path / "out"), "report_to": "comet_ml"}
    with pytest.raises(ArithmeticError):
        make_trainer(callbacks=[EndsAtStep(5, ArithmeticError("too large"))], **options).train()
    resumed = make_trainer(**options)
    resumed.train(resume_from_checkpoint=True)
    first, second = read_archives(tmp_path)
    assert first.about["offline_id"] == second.about["offline_id"]
    assert (first.others["run/outcome"], second.others["run/outcome"]) == ("failed", "finished")
    assert first.about["customer_error_reported"]
    assert "too large" in first.about["customer_error_message"]
    assert not second.about["customer_error_reported"]
    losses = [
        (step, value) for step, name, value in first.metrics + second.metrics if name == "train/loss"
    ]
    assert losses == [
        (entry["step"], entry["loss"]) for entry in resumed.state.log_history if "loss" in entry
    ]


@pytest.mark.parametrize("key", ["", CHOSEN_KEY])
def test_what_one_run_sent_is_not_left_out_of_the_next(
    key: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nor where both report to one experiment; a part that was sent already is left out, and that is said."""
    reporter = make(tmp_path, reporter_args={"comet_ml": {"experiment_key": key or None}})
    state: Any = {}
    for first, last in ((1, 4), (1, 2), (3, 4), (3, 4)):
        reporter.prepare()
        resumed = state if first > 1 else {}
        with caplog.at_level(logging.INFO, "drivetrain"):
            reporter.open(Run("a run", {}, make_net(), first - 1, state=resumed))
        for step in range(first, last + 1):
            reporter.log({"train/loss": step / 4}, step)
        reporter.close("finished")
        state = reporter.state()
    sent = [
        [step for step, name, _ in one.metrics if name == "train/loss"]
        for one in read_archives(tmp_path)
    ]
    assert sent == [[1, 2, 3, 4], [1, 2], [3, 4], []]
    said = [r.getMessage() for r in caplog.records if "are there already" in r.getMessage()]
    assert len(said) == 1
    assert "the steps 3 to 4 are there already" in said[0]


def test_texts_pictures_and_numbers_that_are_none_arrive(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pixels = np.zeros((4, 5, 3), np.uint8)
    pixels[1, 2] = (255, 128, 0)
    reporter = begin(tmp_path, tags=["first", "second"], workspace="us")
    reporter.log({"train/loss": math.nan, "train/text": "une époque", "train/flag": True}, 1)
    reporter.log({"eval/picture": Image(pixels, "of a dot"), "eval/list": [1, 2], "eval/loss": 0.5}, 2)
    reporter.log({"eval/list": [1, 2], "eval/score": torch.tensor(0.25)}, 3)
    reporter.close("interrupted")
    (archive,) = read_archives(tmp_path)
    assert archive.metrics[:2] == [(1, "train/loss", "NaN"), (1, "train/flag", 1.0)]
    assert (2, "eval/loss", 0.5) in archive.metrics
    assert (3, "eval/score", 0.25) in archive.metrics
    assert archive.uploads["train/text"].decode() == "une époque"
    picture = next(value for name, value in archive.uploads.items() if "picture" in name)
    assert np.array_equal(read_picture(picture), pixels)
    (warning,) = [record.message for record in caplog.records if "'eval/list'" in record.message]
    assert "a list is nothing that it takes." in warning
    assert set(archive.about["tags"]) == {"first", "second"}
    assert archive.about["workspace"] == "us"
    assert archive.others["run/outcome"] == "interrupted"


def read_picture(data: bytes) -> Any:
    return np.asarray(Pictures.open(io.BytesIO(data)).convert("RGB"))


def test_an_experiment_that_the_user_began_is_used_and_left_running(tmp_path: Path) -> None:
    comet_ml = load_comet()
    theirs = comet_ml.start(
        online=False, experiment_config=comet_ml.ExperimentConfig(log_env_details=False)
    )
    try:
        reporter = begin(tmp_path, experiment_key=CHOSEN_KEY)
        assert reporter.state() == {"experiment_key": theirs.get_key()}
        reporter.log({"train/loss": 0.5}, 1)
        reporter.close("finished")
        assert theirs.alive
        assert not theirs.ended
    finally:
        theirs.end()
    (archive,) = read_archives(tmp_path)
    assert (1, "train/loss", 0.5) in archive.metrics
    assert archive.parameters["args|a"] == 1


def test_options_win_over_variables_and_these_over_arguments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMET_PROJECT_NAME", "of the environment")
    monkeypatch.setenv("COMET_START_EXPERIMENT_NAME", "named by the environment")
    monkeypatch.setenv("COMET_EXPERIMENT_KEY", "x" * 32)
    reporter = begin(tmp_path, experiment_key=CHOSEN_KEY, offline_directory=str(tmp_path / "elsewhere"))
    reporter.close("finished")
    archive = Archive(next((tmp_path / "elsewhere").glob("*.zip")))
    assert archive.about["project_name"] == "of the environment"
    assert archive.about["offline_id"] == CHOSEN_KEY
    assert archive.others["Name"] == "named by the environment"
    assert reporter.state() == {"experiment_key": CHOSEN_KEY}


def test_a_reporter_that_is_disabled_does_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMET_MODE", "DISABLED")
    monkeypatch.delenv("COMET_START_ONLINE")
    reporter = begin(tmp_path)
    reporter.log({"train/loss": 0.5}, 1)
    reporter.close("finished")
    assert reporter.state() == {}
    assert not list(tmp_path.rglob("*.zip"))


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"COMET_START_ONLINE": "true"}, "has no API key. Type: export COMET_API_KEY"),
        ({"COMET_MODE": "sometimes"}, "COMET_MODE='sometimes' is none of get_or_create, create, get"),
        ({"COMET_LOG_ASSETS": "perhaps"}, "COMET_LOG_ASSETS='perhaps' is neither true nor false"),
        ({"COMET_EXPERIMENT_KEY": "short"}, "32 to 50 letters and digits, not 'short'"),
        ({"COMET_MODE": "get"}, "Type: export COMET_EXPERIMENT_KEY"),
        ({"COMET_START_MODE": "get"}, "Type: export COMET_EXPERIMENT_KEY"),
        ({"COMET_START_MODE": "got"}, "COMET_START_MODE='got' is none of get_or_create, create, get"),
    ],
)
def test_what_cannot_work_is_said_when_the_arguments_are_made(
    variables: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=r"`report_to`") as caught:
        make_args(report_to="comet_ml")
    assert message in str(caught.value)


def test_a_key_in_a_settings_file_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMET_START_ONLINE", "true")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / ".comet.config").write_text("[comet]\napi_key = abc\n")
    make_args(report_to="comet_ml")


def test_no_thread_is_left_when_it_is_closed(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    begin(tmp_path).close("finished")
    assert set(threading.enumerate()) <= before

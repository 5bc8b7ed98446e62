"""What the reporter sends, read back from the sessions that ClearML writes without a network."""

from __future__ import annotations

import io
import json
import logging
import math
import os
import random
import threading
import zipfile
from collections.abc import Iterator
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
from drivetrain_clearml.library import load_clearml, process_kept, settings_of_task

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing is set but that there is no network."""
    for name in ("PROJECT", "TASK", "LOG_MODEL", "API_ACCESS_KEY", "API_SECRET_KEY", "CONFIG_FILE"):
        monkeypatch.delenv(f"CLEARML_{name}", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CLEARML_OFFLINE_MODE", "1")
    monkeypatch.setenv("CLEARML_CACHE_DIR", str(tmp_path / "cache"))


class Session:
    """An archive of a session: what `Task.import_offline_session` reads."""

    def __init__(self, path: Path) -> None:
        with zipfile.ZipFile(path) as archive:
            self.files = {name: archive.read(name) for name in archive.namelist()}
        self.task = json.loads(self.files["task.json"])
        self.events = [event for line in self._lines("metrics.jsonl") for event in json.loads(line)]
        self.texts = [event["msg"] for line in self._lines("log.jsonl") for event in json.loads(line)]

    def _lines(self, name: str) -> list[str]:
        return self.files.get(name, b"").decode().splitlines()

    @property
    def scalars(self) -> list[tuple[int, str, float]]:
        found = [event for event in self.events if event["type"] == "training_stats_scalar"]
        return [
            (event["iter"], f"{event['metric']}/{event['variant']}", event["value"])
            for event in found
            if event["metric"] != "Summary"
        ]

    @property
    def single_values(self) -> dict[str, float]:
        found = [event for event in self.events if event.get("metric") == "Summary"]
        return {event["variant"]: event["value"] for event in found}

    @property
    def outcome(self) -> str:
        return str(self.parameters("properties")["run_outcome"])

    def parameters(self, section: str) -> dict[str, str]:
        return {name: entry["value"] for name, entry in self.task["hyperparams"][section].items()}

    def artefact(self, name: str) -> zipfile.ZipFile:
        (data,) = [
            data for path, data in self.files.items() if path.endswith(f"artifacts/{name}/{name}.zip")
        ]
        return zipfile.ZipFile(io.BytesIO(data))


def read_sessions(folder: Path) -> list[Session]:
    return [Session(path) for path in sorted((folder / "cache" / "offline").glob("*.zip"))]


class TestClearML(ReporterSuite):
    name = "clearml"

    def read_back(self, folder: Path) -> list[dict[str, Any]]:
        scalars = [scalar for session in read_sessions(folder) for scalar in session.scalars]
        return [{"step": step, name: value} for step, name, value in scalars]


def begin(
    folder: Path, state: dict[str, Any] | None = None, start_step: int = 0, **options: Any
) -> ReporterPlugin:
    """A reporter that is open."""
    args = make_args(folder / "out", report_to="clearml", reporter_args={"clearml": options})
    reporter = load_reporter(args, "clearml")
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


def test_a_run_is_in_its_session_and_is_the_run_that_it_would_be_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CLEARML_LOG_MODEL", "TRUE")
    random.seed(3)
    trainer = make_trainer(output_dir=str(tmp_path / "out"), report_to="clearml", project="lines", **RUN)
    trainer.train()
    drawn, weights = random.random(), weights_of(trainer)

    (session,) = read_sessions(tmp_path)
    logged = [
        (entry["step"], f"eval/{name[5:]}" if name.startswith("eval_") else f"train/{name}", value)
        for entry in trainer.state.log_history
        for name, value in entry.items()
        if name != "step"
    ]
    assert [one for one in session.scalars if one[1].startswith(("train/", "eval/"))] == logged
    last = trainer.state.log_history[-1]
    assert session.single_values == {name: value for name, value in last.items() if name != "step"}
    assert session.task["project_name"] == "lines"
    assert session.task["name"] == "first"
    assert session.outcome == "finished"
    assert session.parameters("Args")["learning_rate"] == "0.01"
    assert session.parameters("Args")["seed"] == "11"
    assert session.parameters("Model")["num_parameters"] == "195"
    saved = (tmp_path / "out" / "checkpoint-4" / "model.safetensors").read_bytes()
    assert session.artefact("checkpoint-4").read("model.safetensors") == saved
    assert "model.safetensors" in session.artefact("model").namelist()
    assert not session.task.get("script"), "the repository was looked at"

    random.seed(3)
    alone = make_trainer(output_dir=str(tmp_path / "alone"), **RUN)
    alone.train()
    assert are_equal(weights, weights_of(alone))
    assert drawn == random.random()
    said = capfd.readouterr()
    assert "ClearML" not in said.out + said.err


def test_a_resumed_run_goes_on_with_its_task_and_no_step_is_there_twice(tmp_path: Path) -> None:
    # In the thread that trains: the checkpoint is not to be saved before there is a task.
    options = {
        **RUN,
        "output_dir": str(tmp_path / "out"),
        "report_to": "clearml",
        "reporter_errors": "raise",
    }
    with pytest.raises(ArithmeticError):
        make_trainer(callbacks=[EndsAtStep(6, ArithmeticError("too large"))], **options).train()
    (failed,) = read_sessions(tmp_path)
    assert failed.outcome == "failed"
    assert any("too large" in text for text in failed.texts)
    resumed = make_trainer(**options)
    resumed.train(resume_from_checkpoint=True)
    (session,) = read_sessions(tmp_path)
    assert session.task["id"] == failed.task["id"]
    assert session.outcome == "finished"
    losses = [(step, value) for step, name, value in session.scalars if name == "train/loss"]
    assert losses == [
        (entry["step"], entry["loss"]) for entry in resumed.state.log_history if "loss" in entry
    ]


def test_what_one_run_sent_is_not_left_out_of_the_next(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One reporter, two runs; the second goes on twice from its second step."""
    args = make_args(tmp_path / "out", report_to="clearml")
    reporter = load_reporter(args, "clearml")
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
    sessions = read_sessions(tmp_path)
    sent = {
        session.task["id"]: [step for step, name, _ in session.scalars if name == "train/loss"]
        for session in sessions
    }
    assert len(sent) == 2
    assert sent[state["task_id"]] == [1, 2, 3, 4]
    (said,) = [r.getMessage() for r in caplog.records if "are there already" in r.getMessage()]
    assert "the steps 3 to 4 are there already" in said


def test_texts_pictures_and_numbers_that_are_none_arrive(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pixels = np.full((16, 24, 3), 200, np.uint8)
    reporter = begin(tmp_path, tags=["first", "second"])
    reporter.log({"train/loss": math.nan, "train/text": "une époque", "train/flag": True}, 1)
    reporter.log({"eval/picture": Image(pixels), "eval/list": [1, 2], "eval/loss": 0.5}, 2)
    reporter.log({"eval/list": [1, 2], "eval/score": torch.tensor(0.25), "score": 2}, 3)
    reporter.close("interrupted")
    (session,) = read_sessions(tmp_path)
    assert session.scalars == [
        (1, "train/flag", 1.0),
        (2, "eval/loss", 0.5),
        (3, "eval/score", 0.25),
        (3, "train/score", 2.0),
    ]
    texts = "\n".join(session.texts)
    assert "step 1: train/loss: nan" in texts
    assert "step 1: train/text: une époque" in texts
    (picture,) = [event for event in session.events if event["type"] == "training_debug_image"]
    assert (picture["iter"], picture["metric"], picture["variant"]) == (2, "eval", "picture")
    (data,) = [
        data for name, data in session.files.items() if name.endswith(picture["key"].split("/")[-1])
    ]
    assert abs(np.asarray(Pictures.open(io.BytesIO(data)), int) - pixels).max() <= 2  # a JPEG
    (warning,) = [record.message for record in caplog.records if "'eval/list'" in record.message]
    assert "a list is nothing that it takes." in warning
    assert session.outcome == "interrupted"
    assert set(session.task["tags"]) >= {"first", "second"}


@pytest.fixture
def their_task(tmp_path: Path) -> Iterator[Any]:
    """A task that the user began."""
    clearml = load_clearml()
    clearml.Task.set_offline(True)
    with process_kept(), settings_of_task(stops_process=False):
        options = {"auto_connect_streams": False, "auto_connect_frameworks": False}
        task = clearml.Task.init("theirs", "a task", **options)
        yield task
        task.close()


def test_a_task_that_the_user_began_is_used_and_left_open(their_task: Any, tmp_path: Path) -> None:
    reporter = begin(tmp_path)
    assert reporter.state() == {"task_id": their_task.id}
    reporter.log({"train/loss": 0.5}, 1)
    reporter.close("finished")
    assert load_clearml().Task.current_task() is their_task
    their_task.get_logger().report_scalar("train", "after", 1.0, 2)
    their_task.close()
    (session,) = read_sessions(tmp_path)
    assert session.scalars == [(1, "train/loss", 0.5), (2, "train/after", 1.0)]
    assert session.task["project_name"] == "theirs"
    assert session.parameters("Args")["a"] == "1"


def test_options_win_over_variables_and_these_over_arguments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(tmp_path / "published").close("finished")
    monkeypatch.setenv("CLEARML_PROJECT", "of the environment")
    monkeypatch.setenv("CLEARML_TASK", "named by the environment")
    begin(tmp_path).close("finished")
    begin(tmp_path, task="named by an option").close("finished")
    sessions = read_sessions(tmp_path)
    assert {(session.task["project_name"], session.task["name"]) for session in sessions} == {
        ("HuggingFace Transformers", "a run"),
        ("of the environment", "named by the environment"),
        ("of the environment", "named by an option"),
    }


def test_a_relative_folder_of_its_cache_holds_the_model_as_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CLEARML_CACHE_DIR", "cache")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights").write_text("1 2 3")
    reporter = begin(tmp_path, log_model=True)
    reporter.log_model(tmp_path / "model")
    reporter.close("finished")
    (session,) = read_sessions(tmp_path)
    assert session.artefact("model").read("weights") == b"1 2 3"
    assert [path.count("model.zip") for path in session.files if "model.zip" in path] == [1]
    assert os.environ["CLEARML_CACHE_DIR"] == "cache"


@pytest.mark.parametrize(
    ("variables", "options", "message"),
    [
        ({"CLEARML_OFFLINE_MODE": "0"}, {}, "has no credentials. Type: clearml-init"),
        ({"CLEARML_LOG_MODEL": "perhaps"}, {}, "CLEARML_LOG_MODEL='perhaps' is neither true nor false"),
        ({}, {"frameworks": ["torch"]}, "cannot hold 'torch'. ClearML watches catboost"),
    ],
)
def test_what_cannot_work_is_said_when_the_arguments_are_made(
    variables: dict[str, str], options: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=r"`report") as caught:
        make_args(report_to="clearml", reporter_args={"clearml": options})
    assert message in str(caught.value)


def test_a_file_of_settings_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEARML_OFFLINE_MODE", "0")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "clearml.conf").write_text("api {}\n")
    make_args(report_to="clearml")


def test_no_thread_is_left_when_it_is_closed(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    begin(tmp_path).close("finished")
    assert set(threading.enumerate()) <= before

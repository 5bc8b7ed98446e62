"""What the reporter writes, read back with TensorBoard's own reader."""

from __future__ import annotations

import io
import json
import logging
import os
import signal
import subprocess
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Pictures
from tests.support.small import make_trainer
from torch import nn

from drivetrain import TrainingArguments
from drivetrain.plugin import Image, NoOptions, Outcome, Run
from drivetrain.testing import ReporterSuite
from drivetrain_tensorboard.reporter import TensorBoard

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


@dataclass
class TinyConfig:
    hidden_size: int = 3
    dtype: torch.dtype = torch.float32


class ConfiguredModel(nn.Linear):
    def __init__(self, config: object) -> None:
        super().__init__(1, 1)
        self.config = config


@pytest.fixture
def args(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrainingArguments:
    monkeypatch.delenv("TENSORBOARD_LOGGING_DIR", raising=False)
    return TrainingArguments(
        str(tmp_path / "out"), logging_dir=str(tmp_path / "events"), report_to="tensorboard"
    )


def report(
    args: TrainingArguments,
    lines: dict[int, dict[str, Any]],
    *,
    start_step: int = 0,
    model: nn.Module | None = None,
    outcome: Outcome | None = "finished",
) -> TensorBoard:
    """Do what core does with a reporter in one call of `train`."""
    reporter = TensorBoard(args, NoOptions())
    reporter.open(Run("a run", args.to_dict(), model or nn.Linear(1, 1), start_step))
    for step, values in lines.items():
        reporter.log(values, step)
    if outcome is not None:
        reporter.close(outcome)
    return reporter


def read(folder: str | Path) -> EventAccumulator:
    return EventAccumulator(str(folder)).Reload()


def read_scalars(folder: str | Path, tag: str) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in read(folder).Scalars(tag)]


def read_texts(folder: str | Path, tag: str) -> list[tuple[int, str]]:
    return [
        (event.step, event.tensor_proto.string_val[0].decode())
        for event in read(folder).Tensors(f"{tag}/text_summary")
    ]


class TestTensorBoard(ReporterSuite):
    name = "tensorboard"

    @pytest.fixture(autouse=True)
    def no_folder_from_outside(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("TENSORBOARD_LOGGING_DIR", raising=False)

    def read_back(self, folder: Path) -> list[dict[str, Any]]:
        found = []
        for logged in {file.parent for file in folder.rglob("events.out.*")}:
            events = read(logged)  # with what resumed runs said is to be forgotten
            for tag in events.Tags()["scalars"]:
                found += [{"step": event.step, tag: event.value} for event in events.Scalars(tag)]
        return found


@pytest.mark.parametrize(
    "value", [torch.tensor(0.5), np.float32(0.5), np.array(0.5)], ids=["tensor", "scalar", "array"]
)
def test_a_tensor_or_array_without_dimensions_is_a_number(args: TrainingArguments, value: Any) -> None:
    report(args, {1: {"train/loss": value}})
    assert read_scalars(args.logging_dir, "train/loss") == [(1, 0.5)]


def test_a_text_becomes_a_text(args: TrainingArguments) -> None:
    report(args, {3: {"train/phase": "warm-up"}})
    assert read_texts(args.logging_dir, "train/phase") == [(3, "warm-up")]


def test_a_picture_is_a_picture_with_its_caption_as_a_text(args: TrainingArguments) -> None:
    pixels = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    report(args, {3: {"eval/sample": Image(pixels, "the first")}, 5: {"eval/sample": Image(pixels)}})
    first, second = read(args.logging_dir).Images("eval/sample")
    assert (first.step, second.step) == (3, 5)
    found = Pictures.open(io.BytesIO(first.encoded_image_string))
    assert np.array(found).tolist() == pixels.tolist()
    assert read_texts(args.logging_dir, "eval/sample") == [(3, "the first")]


def test_what_is_neither_is_left_out_with_one_warning_that_names_it(
    args: TrainingArguments, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "drivetrain"):
        report(args, {1: {"eval/matrix": [[1, 0]], "eval/loss": 1.0}, 2: {"eval/matrix": [[0, 1]]}})
    assert [record.getMessage() for record in caplog.records] == [
        "TensorBoard: 'eval/matrix' is left out, now and in what follows: a list is nothing that it takes."
    ]
    assert read(args.logging_dir).Tags()["scalars"] == ["eval/loss"]


def test_the_arguments_are_a_text_of_json(args: TrainingArguments) -> None:
    report(args, {})
    ((step, text),) = read_texts(args.logging_dir, "args")
    assert step == 0
    assert json.loads(text) == args.to_dict()


@pytest.mark.parametrize("config", [TinyConfig(), {"hidden_size": 3, "dtype": "torch.float32"}])
def test_the_models_configuration_is_a_text_of_json(args: TrainingArguments, config: object) -> None:
    report(args, {}, model=ConfiguredModel(config))
    ((_, text),) = read_texts(args.logging_dir, "model_config")
    assert json.loads(text) == {"hidden_size": 3, "dtype": "torch.float32"}


def test_a_configuration_that_writes_itself_does(args: TrainingArguments) -> None:
    class Config:
        def to_json_string(self) -> str:
            return '{"layers": 2}'

    report(args, {}, model=ConfiguredModel(Config()))
    ((_, text),) = read_texts(args.logging_dir, "model_config")
    assert json.loads(text) == {"layers": 2}


@pytest.mark.parametrize("config", [None, "tiny", TinyConfig])
def test_a_configuration_that_cannot_be_read_is_left_out(args: TrainingArguments, config: Any) -> None:
    report(args, {}, model=ConfiguredModel(config))
    assert "model_config/text_summary" not in read(args.logging_dir).Tags()["tensors"]


def test_the_arguments_are_hyper_parameters(args: TrainingArguments) -> None:
    report(args, {})
    from tensorboard.plugins.hparams import plugin_data_pb2

    content = read(args.logging_dir).PluginTagToContent("hparams")["_hparams_/session_start_info"]
    start = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info
    assert start.hparams["optim"].string_value == "adamw_torch"
    assert start.hparams["learning_rate"].number_value == args.learning_rate


@pytest.mark.parametrize("outcome", ["finished", "failed", "interrupted"])
def test_how_a_run_ended_is_noted_at_its_last_step(args: TrainingArguments, outcome: Outcome) -> None:
    report(args, {7: {"train/loss": 1.0}}, outcome=outcome)
    assert read_texts(args.logging_dir, "run/outcome") == [(7, outcome)]


@pytest.mark.parametrize(("outcome", "is_success"), [("finished", True), ("failed", False)])
def test_only_a_finished_run_is_a_success_in_the_table_of_hyper_parameters(
    args: TrainingArguments, outcome: Outcome, is_success: bool
) -> None:
    report(args, {}, outcome=outcome)
    tags = read(args.logging_dir).PluginTagToContent("hparams")
    assert ("_hparams_/session_end_info" in tags) == is_success


def test_the_environment_overrides_the_folder(
    args: TrainingArguments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", "~/elsewhere")
    report(args, {1: {"train/loss": 1.0}})
    assert read_scalars(tmp_path / "elsewhere", "train/loss") == [(1, 1.0)]
    assert not Path(str(args.logging_dir)).exists()


def test_a_log_is_on_disk_before_the_next(args: TrainingArguments) -> None:
    reporter = report(args, {1: {"train/loss": 1.0}}, outcome=None)
    assert read_scalars(args.logging_dir, "train/loss") == [(1, 1.0)]
    reporter.close("finished")


def test_a_resumed_run_shows_no_step_twice(args: TrainingArguments) -> None:
    """The first run logs beyond its checkpoint of step 2 and is lost; the second starts from there."""
    report(args, {step: {"train/loss": 10.0 + step} for step in (1, 2, 3, 4)}, outcome="failed")
    report(args, {step: {"train/loss": float(step)} for step in (3, 4, 5)}, start_step=2)
    scalars = read_scalars(args.logging_dir, "train/loss")
    assert scalars == [(1, 11.0), (2, 12.0), (3, 3.0), (4, 4.0), (5, 5.0)]
    assert read_texts(args.logging_dir, "run/outcome") == [(4, "failed"), (5, "finished")]


def test_closing_what_was_never_opened_does_nothing(args: TrainingArguments) -> None:
    TensorBoard(args, NoOptions()).close("failed")
    assert not Path(str(args.logging_dir)).exists()


KILLED_RUN = """
import os, signal
from tests.support.small import make_trainer
from drivetrain import TrainerCallback

class Kills(TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == 5:
            os.kill(os.getpid(), signal.SIGKILL)

make_trainer(
    logging_dir="out/runs/Jan31_12-00-00_host",  # as it is by default, at another time
    report_to="tensorboard",
    reporter_errors="raise",  # in the thread that trains: each log is there when the next step begins
    save_strategy="steps",
    save_steps=2,
    callbacks=[Kills()],
).train()
"""


@pytest.mark.slow
def test_a_run_that_is_killed_keeps_what_it_logged_and_goes_on_in_its_folder(
    own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TENSORBOARD_LOGGING_DIR", raising=False)
    command = [sys.executable, "-c", KILLED_RUN]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[3])}
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300, env=env)
    assert done.returncode == -signal.SIGKILL, done.stderr
    (folder,) = (own_folder / "out" / "runs").iterdir()
    assert [step for step, _ in read_scalars(folder, "train/loss")] == [1, 2, 3, 4]

    trainer = make_trainer(report_to="tensorboard")
    trainer.train(resume_from_checkpoint="out/checkpoint-2")
    assert list((own_folder / "out" / "runs").iterdir()) == [folder]
    logged = [(entry["step"], entry["loss"]) for entry in trainer.state.log_history if "loss" in entry]
    scalars = read_scalars(folder, "train/loss")
    assert [step for step, _ in scalars] == [1, 2, 3, 4, 5, 6]
    assert dict(scalars) == pytest.approx(dict(logged))


def test_a_folder_that_is_chosen_goes_before_that_of_the_run_that_is_resumed(
    args: TrainingArguments,
) -> None:
    state = {"folder": "runs/Jan31_12-00-00_host"}
    Path(args.output_dir, state["folder"]).mkdir(parents=True)
    reporter = TensorBoard(args, NoOptions())
    reporter.open(Run("a run", {}, nn.Linear(1, 1), 2, {}, state))
    reporter.log({"train/loss": 1.0}, 3)
    reporter.close("finished")
    assert read_scalars(str(args.logging_dir), "train/loss") == [(3, 1.0)]
    assert reporter.state() == {"folder": str(args.logging_dir)}

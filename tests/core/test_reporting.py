"""Reporters: what they are told, and that they cannot end a run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small import are_equal, make_args, make_samples, make_trainer, weights_of

from drivetrain import Image, Trainer, TrainerCallback, UsageError, register
from drivetrain.callbacks.reporting import ReporterCallback
from drivetrain.plugin import ReporterPlugin, Run
from drivetrain_registry import Registry


class Noting(ReporterPlugin):
    """Notes what it is told."""

    opened: list[Run]
    logged: list[tuple[int, dict[str, Any]]]
    closed: list[str]

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        type(self).opened, type(self).logged, type(self).closed = [], [], []

    def open(self, run: Run) -> None:
        self.opened.append(run)

    def log(self, values: Mapping[str, Any], step: int) -> None:
        self.logged.append((step, dict(values)))

    def close(self, outcome: str) -> None:
        self.closed.append(outcome)


def close_reporters(trainer: Trainer) -> None:
    """What is done when the process ends."""
    for callback in reporters_of(trainer):
        callback.close("finished")


def reporters_of(trainer: Trainer) -> list[ReporterCallback]:
    callbacks = trainer.callback_handler.callbacks
    return [callback for callback in callbacks if isinstance(callback, ReporterCallback)]


def test_a_reporter_is_opened_told_every_log_and_closed() -> None:
    register("reporter", "noting", Noting)
    trainer = make_trainer(report_to="noting", eval_strategy="epoch", run_name="first")
    trainer.train()
    (run,) = Noting.opened
    assert (run.name, run.start_step, run.config["optim"]) == ("first", 0, "adamw_torch")
    assert run.model is trainer.model
    assert Noting.closed == ["finished"]
    names = {name for _, values in Noting.logged for name in values}
    assert {
        "train/loss",
        "train/learning_rate",
        "train/grad_norm",
        "eval/loss",
        "train/train_loss",
    } < names
    losses = {step: values["train/loss"] for step, values in Noting.logged if "train/loss" in values}
    assert losses == {e["step"]: e["loss"] for e in trainer.state.log_history if "loss" in e}


def test_an_evaluation_without_training_is_reported_too() -> None:
    register("reporter", "noting", Noting)
    trainer = make_trainer(report_to=["noting"])
    trainer.evaluate()
    close_reporters(trainer)
    assert len(Noting.opened) == 1
    assert "eval/loss" in Noting.logged[0][1]


def test_what_is_logged_without_training_is_closed_when_the_process_ends(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        """
from small import make_trainer
from drivetrain import register
from drivetrain.plugin import ReporterPlugin

class Telling(ReporterPlugin):
    def open(self, run): print("open")
    def log(self, values, step): print("log")
    def close(self, outcome): print("close", outcome)

register("reporter", "telling", Telling)
make_trainer(report_to="telling").evaluate()
print("end of script")
"""
    )
    path = {"PYTHONPATH": str(Path(__file__).parents[1] / "support")}
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        env={**os.environ, **path},
        check=True,
    )
    told = [line for line in done.stdout.splitlines() if not line.startswith("{")]
    assert [line for line in told if line != "end of script"] == ["open", "log", "close finished"]
    assert told[-1] == "close finished"


class Stop(TrainerCallback):
    def __init__(self, error: type[BaseException]) -> None:
        self.error = error

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        raise self.error("stop")


@pytest.mark.parametrize(
    ("error", "outcome"), [(ValueError, "failed"), (KeyboardInterrupt, "interrupted")]
)
def test_a_reporter_is_closed_with_how_the_run_ended(error: type[BaseException], outcome: str) -> None:
    register("reporter", "noting", Noting)
    with pytest.raises(error):
        make_trainer(report_to="noting", callbacks=[Stop(error)]).train()
    assert Noting.closed == [outcome]


@pytest.mark.parametrize("where", ["open", "log", "close"])
def test_a_reporter_that_raises_does_not_change_the_run_and_is_heard_of_once(
    where: str, caplog: pytest.LogCaptureFixture
) -> None:
    class Raising(Noting):
        pass

    def fail(self: Any, *args: Any) -> None:
        raise ConnectionError("no such host")

    setattr(Raising, where, fail)
    register("reporter", "raising", Raising)
    quiet = make_trainer()
    quiet.train()
    trainer = make_trainer(report_to="raising")
    trainer.train()
    assert are_equal(weights_of(quiet), weights_of(trainer))
    assert (
        caplog.text.count(f"The reporter 'raising' failed in `{where if where != 'log' else 'fail'}`")
        <= 1
    )
    assert caplog.text.count("no such host") >= 1
    assert caplog.text.count("is switched off") == (0 if where == "close" else 1)
    if where == "log":
        assert Raising.closed == ["finished"]
    if where == "open":
        assert (Raising.logged, Raising.closed) == ([], [])


def test_none_and_an_empty_list_are_nobody() -> None:
    for nobody in ("none", [], None):
        trainer = make_trainer(report_to=nobody)
        assert "ReporterCallback" not in trainer.callback_handler.callback_list


def test_all_is_every_reporter_that_can_be_loaded(
    isolated_registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    class Impossible(Noting):
        def problems(self) -> list[str]:
            return ["`report_to`: not on this machine."]

    register("reporter", "noting", Noting)
    register("reporter", "impossible", Impossible)
    register("reporter", "no_reporter", 3)

    class Failing(Noting):
        def problems(self) -> list[str]:
            raise ZeroDivisionError

    register("reporter", "failing", Failing)
    with caplog.at_level("INFO", logger="drivetrain"):
        trainer = make_trainer(report_to="all", train_dataset=make_samples())
    names = [c.reporter.name for c in trainer.callback_handler.callbacks if hasattr(c, "reporter")]
    assert {"jsonl", "noting", "tensorboard"} <= set(names)
    assert not {"impossible", "failing", "no_reporter"} & set(names)
    assert f"reporting to {', '.join(names)}" in caplog.text


class Numbered(Noting):
    """Goes on in the run that it is told of, unless it does not come to know."""

    gate: threading.Event
    number = 0

    def open(self, run: Run) -> None:
        self.gate.wait()
        self.number = run.state.get("number", 1)
        super().open(run)

    def state(self) -> dict[str, int]:
        return {"number": self.number}


def test_what_a_checkpoint_kept_is_kept_on_until_the_reporter_has_taken_it_up(tmp_path: Path) -> None:
    class First(Numbered):
        number = 5
        gate = threading.Event()

    First.gate.set()
    register("reporter", "numbered", First)
    options: dict[str, Any] = {"report_to": "numbered", "save_strategy": "steps", "save_steps": 2}
    make_trainer(output_dir=tmp_path, max_steps=2, reporter_errors="raise", **options).train()
    First.number, First.gate = 0, threading.Event()
    trainer = make_trainer(output_dir=tmp_path, max_steps=4, reporter_timeout=0.1, **options)
    trainer.train(resume_from_checkpoint=True)
    First.gate.set()
    kept = json.loads((tmp_path / "checkpoint-4" / "reporter_numbered.json").read_text())
    assert kept == {"number": 1}


class Counting(TrainerCallback):
    """A callback that `report_to` can name."""

    logs = 0

    def on_log(self, *args: Any, **kwargs: Any) -> None:
        type(self).logs += 1


def test_a_dotted_path_may_lead_to_a_callback(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    module = types.ModuleType("my_callbacks")
    module.Counting = Counting  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "my_callbacks", module)
    Counting.logs = 0
    trainer = make_trainer(output_dir=tmp_path, report_to=["jsonl", "my_callbacks.Counting"])
    trainer.train()
    assert Counting.logs == len(trainer.state.log_history)
    assert "Counting" in trainer.callback_handler.callback_list


def test_a_reporter_that_is_named_twice_is_told_once(tmp_path: Path) -> None:
    for names in (["jsonl", "jsonl"], ["all", "jsonl"], ["jsonl", "drivetrain-torch:jsonl"]):
        trainer = make_trainer(output_dir=tmp_path, report_to=names)
        found = [callback.name for callback in reporters_of(trainer)]
        assert [name.rpartition(":")[2] for name in found].count("jsonl") == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"reporter_args": ["wandb"]},
            r"`reporter_args`: \['wandb'\] is no dict of options by reporter",
        ),
        ({"report_to": ["jsonl", "none"]}, r"`report_to`: .* has 'none' beside names"),
        ({"reporter_timeout": -1}, r"`reporter_timeout`: -1 is no number .* Type reporter_timeout=60"),
    ],
)
def test_what_cannot_be_meant_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make_args(**{"report_to": "jsonl", **options})


def test_who_has_options_is_named_and_not_left_out_in_silence() -> None:
    class Impossible(Noting):
        def problems(self) -> list[str]:
            return ["`report_to`: not on this machine."]

    register("reporter", "impossible", Impossible)
    make_args(report_to="all")
    with pytest.raises(ValueError, match="not on this machine"):
        make_args(report_to="all", reporter_args={"impossible": {}})


def test_loading_processes_close_no_reporter(tmp_path: Path) -> None:
    trainer = make_trainer(
        output_dir=tmp_path,
        report_to="jsonl",
        dataloader_num_workers=2,
        num_train_epochs=2,
    )
    trainer.train()
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    events = [json.loads(line).get("event") for line in lines]
    assert [event for event in events if event] == ["begin", "end"]


def test_a_model_that_cannot_be_saved_does_not_end_a_run_that_is_over(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Keeping(Noting):
        takes_model = True

    class Unsaveable(Trainer):
        def save_model(self, *args: Any, **kwargs: Any) -> None:
            raise RuntimeError("tensors share memory")

    register("reporter", "keeping", Keeping)
    assert make_trainer(cls=Unsaveable, report_to="keeping").train().global_step == 6
    assert "The reporter 'keeping' gets no model: tensors share memory" in caplog.text
    assert Keeping.closed == ["finished"]


def test_few_checkpoints_wait_for_a_reporter_that_does_not_take_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Away(Noting):
        takes_checkpoints = True

        def open(self, run: Run) -> None:
            raise ConnectionError

    seen: list[int] = []

    class Looking(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            seen.append(len(list(tmp_path.glob(".reporting/away/*/checkpoint-*"))))

    register("reporter", "away", Away)
    make_trainer(
        output_dir=tmp_path,
        report_to="away",
        callbacks=[Looking()],
        save_strategy="steps",
        save_steps=1,
        save_total_limit=1,
        num_train_epochs=2,
        reporter_timeout=5,
    ).train()
    assert max(seen) <= 7  # three that wait, three that are tried again, one on its way
    assert "The reporter 'away' missed the checkpoint of step 1." in caplog.text
    assert not (tmp_path / ".reporting").exists()


class Interrupting(Noting):
    """Is being closed when the user loses patience."""

    def close(self, outcome: str) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)


def test_losing_patience_with_a_reporter_does_not_lose_the_run(caplog: pytest.LogCaptureFixture) -> None:
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # a shell's job in the background ignores it
    register("reporter", "interrupting", Interrupting)
    trainer = make_trainer(report_to="interrupting", reporter_timeout=20)
    assert trainer.train().global_step == 6
    assert "Not waiting for the reporter 'interrupting' any longer." in caplog.text


@pytest.mark.parametrize(
    ("picture", "pixel"),
    [
        (np.full((2, 3), 0.5), 127),
        (torch.ones(3, 2, 3), 255),
        (np.full((2, 3, 1), 9, dtype=np.uint8), 9),
        (np.zeros((2, 3, 4), dtype=np.uint8), 255),
        (np.full((2, 3, 3), 1.001), 255),
    ],
)
def test_a_picture_is_made_of_what_people_have(picture: Any, pixel: int) -> None:
    image = Image.of(picture, "a caption")
    assert (image.pixels.shape, image.pixels.dtype) == ((2, 3, 3), np.uint8)
    assert (image.pixels == pixel).all()


@pytest.mark.parametrize(
    "picture",
    [np.full((2, 3), 300), np.full((2, 3), 7.5), np.full((2, 3), -1), np.zeros(3), "cat.png", None],
)
def test_what_is_no_picture_is_refused(picture: Any) -> None:
    with pytest.raises(UsageError, match="A picture"):
        Image.of(picture)


def test_pictures_of_pillow_and_figures_of_matplotlib_are_taken() -> None:
    pillow = pytest.importorskip("PIL.Image")
    figures = pytest.importorskip("matplotlib.figure")
    assert (Image.of(pillow.new("RGB", (3, 2), (7, 8, 9))).pixels[0, 0] == [7, 8, 9]).all()
    assert Image.of(pillow.fromarray(np.full((2, 3), 65535, dtype=np.uint16))).pixels.min() == 255
    figure = figures.Figure(figsize=(1, 1), dpi=20)
    picture = Image.of(figure)
    assert picture.pixels.shape == (20, 20, 3)
    assert picture.to_png().startswith(b"\x89PNG")

"""Reporters: what they are told, and that they cannot end a run."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from small import are_equal, make_samples, make_trainer, weights_of

from drivetrain import TrainerCallback, register
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
    make_trainer(report_to=["noting"]).evaluate()
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
    assert told == ["open", "log", "end of script", "close finished"]


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
    assert names == ["jsonl", "noting", "tensorboard"]
    assert "reporting to jsonl, noting, tensorboard" in caplog.text

"""Runs to report on, trained once, and the command in a process."""

from __future__ import annotations

import io
import os
import subprocess
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small import make_samples, make_trainer

from drivetrain import EvalPrediction, TrainerCallback
from drivetrain.cli import main
from drivetrain.plugin import Image, Run
from drivetrain_torch.jsonl import JSONLines

Command = Callable[..., subprocess.CompletedProcess[str]]

HOSTILE = "<script>document.title = 'taken'</script>"


class Fails(TrainerCallback):
    """Raises after some updates."""

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == 7:
            raise ArithmeticError(f"bad data {HOSTILE}")


def measure(prediction: EvalPrediction) -> dict[str, float]:
    right = np.asarray(prediction.predictions).argmax(-1) == prediction.label_ids
    return {"accuracy": float(right.mean())}


def train(folder: Path, *, resume: bool = False, **options: Any) -> Any:
    options = {
        "report_to": "jsonl",
        "max_steps": 12,
        "eval_strategy": "steps",
        "eval_steps": 3,
        "save_strategy": "steps",
        "save_steps": 6,
        "compute_metrics": measure,
        "train_dataset": make_samples(40),
        **options,
    }
    trainer = make_trainer(output_dir=folder, **options)
    trainer.train(resume_from_checkpoint=resume or None)
    return trainer


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``good``, ``failed`` and ``resumed``."""
    folder = tmp_path_factory.mktemp("runs")
    train(folder / "good", run_name=HOSTILE, load_best_model_at_end=True)
    with pytest.raises(ArithmeticError):
        train(folder / "failed", learning_rate=0.05, callbacks=[Fails()])
    train(folder / "resumed", max_steps=9, save_steps=4)
    train(folder / "resumed", max_steps=14, save_steps=4, resume=True)
    return folder


@pytest.fixture(scope="session")
def odd_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Killed at step 60, with numbers that are none, steps without a log, a picture and a text."""
    folder = tmp_path_factory.mktemp("odd")
    trainer = make_trainer(output_dir=folder, report_to="jsonl")
    reporter = JSONLines(trainer.args)
    config = trainer.args.to_dict()
    reporter.open(Run("odd", config, trainer.model, 0))
    for step in [*range(1, 31), *range(41, 61)]:
        loss = float("nan") if step in (5, 6) else float("inf") if step == 50 else 1 / step
        reporter.log({"train/loss": loss}, step)
    picture = Image(np.full((4, 6, 3), 90, np.uint8), HOSTILE)
    reporter.log({"eval/picture": picture, "eval/text": f"once {HOSTILE}"}, 60)
    return folder


@pytest.fixture(scope="session")
def command() -> Command:
    """A function that runs ``drivetrain`` with some words, in this process."""

    def run(*words: object, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
        line = list(map(str, words))
        output, errors, before = io.StringIO(), io.StringIO(), os.getcwd()
        os.chdir(folder or before)
        try:
            with redirect_stdout(output), redirect_stderr(errors):
                status = main(line)
        finally:
            os.chdir(before)
        return subprocess.CompletedProcess(line, status, output.getvalue(), errors.getvalue())

    return run

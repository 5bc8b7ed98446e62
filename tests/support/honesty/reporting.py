"""Rows of the arguments of what is logged, and where to."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from small import Net, make_args

from drivetrain import Trainer
from drivetrain.plugin import ReporterPlugin, Run
from honesty.observations import Broken, Words, logged, logged_at, make_words
from honesty.processes import SECOND_MACHINE, SECOND_OF_MACHINE
from honesty.table import Case, row, seen


@dataclass
class NotesOptions:
    """Options of `Notes`."""

    prefix: str = ""


class Notes(ReporterPlugin):
    """Keeps what it is told."""

    Options = NotesOptions
    names: list[str] = []
    projects: list[str | None] = []
    values: list[dict[str, Any]] = []

    def open(self, run: Run) -> None:
        self.names.append(run.name)
        self.projects.append(self.args.project)

    def log(self, values: Any, step: int) -> None:
        self.values.append({self.options.prefix + name: value for name, value in values.items()})


class Full(ReporterPlugin):
    """Writes to a full disk."""

    def log(self, values: Any, step: int) -> None:
        raise OSError("the disk is full")


class Stuck(ReporterPlugin):
    """Does not come back until it is let go."""

    is_free = threading.Event()

    def log(self, values: Any, step: int) -> None:
        self.is_free.wait()


NOTES, FULL, STUCK = (f"honesty.reporting.{name}" for name in ("Notes", "Full", "Stuck"))


class Inputs(Net):
    """A net that says which of its inputs are tokens."""

    main_input_name = "x"


@row("log_level", "error")
def log_level(case: Case) -> None:
    case.plain()
    assert logging.getLogger("drivetrain").level == logging.NOTSET
    case.changed()
    assert logging.getLogger("drivetrain.trainer").getEffectiveLevel() == logging.ERROR


@row("log_level_replica", "critical", strategy=SECOND_OF_MACHINE)
def log_level_replica(case: Case) -> None:
    assert "has no effect with" in case.warnings(**case.setting)[0]
    assert case.plain().args.get_process_log_level() == logging.WARNING
    assert case.changed().args.get_process_log_level() == logging.CRITICAL


@row("log_on_each_node", False, strategy=SECOND_MACHINE, log_level="info", log_level_replica="error")
def log_on_each_node(case: Case) -> None:
    assert "has no effect with" in case.warnings(**case.setting)[0]
    assert case.plain().args.get_process_log_level() == logging.INFO
    assert case.changed().args.get_process_log_level() == logging.ERROR


@row("logging_dir", "events", report_to="tensorboard")
def logging_dir(case: Case) -> None:
    case.plain().train()
    assert len(list(Path("plain", "runs").glob("*/events.out.tfevents.*"))) == 1
    assert not Path("events").exists()
    case.changed().train()
    assert list(Path("events").glob("events.out.tfevents.*"))


@row("report_to", NOTES)
def report_to(case: Case) -> None:
    Notes.values.clear()
    case.plain().train()
    assert Notes.values == []
    case.changed().train()
    assert [values["train/loss"] for values in Notes.values if "train/loss" in values]


@row("run_name", "first", report_to=NOTES)
def run_name(case: Case) -> None:
    Notes.names.clear()
    case.plain().train()
    case.changed().train()
    assert Notes.names == ["plain", "first"]


@row("project", "birds", report_to=NOTES)
def project(case: Case) -> None:
    Notes.projects.clear()
    case.plain().train()
    case.changed().train()
    assert Notes.projects == [None, "birds"]


@row("reporter_args", {NOTES: {"prefix": "a/"}}, report_to=NOTES)
def reporter_args(case: Case) -> None:
    Notes.values.clear()
    case.changed().train()
    assert any("a/train/loss" in values for values in Notes.values)
    with pytest.raises(ValueError, match=r"`reporter_args`: 'prefxi' is no option of .* 'prefix'"):
        make_args(report_to=NOTES, reporter_args={NOTES: {"prefxi": "a/"}})
    with pytest.raises(
        ValueError, match=r"`reporter_args`: 'wandb' is not among what `report_to` names"
    ):
        make_args(report_to=NOTES, reporter_args="wandb={'tags': ['first']}")


@row("reporter_errors", "raise", report_to=FULL)
def reporter_errors(case: Case) -> None:
    assert case.plain().train().global_step == 6
    with pytest.raises(OSError, match="the disk is full"):
        case.changed().train()


@row("reporter_timeout", 0.2, report_to=STUCK)
def reporter_timeout(case: Case) -> None:
    Stuck.is_free.clear()
    with case.caplog.at_level(logging.WARNING):
        assert case.changed().train().global_step == 6
    assert "The reporter 'honesty.reporting.Stuck' is not done 0.2 s after the run" in case.caplog.text
    Stuck.is_free.set()
    case.caplog.clear()
    with case.caplog.at_level(logging.WARNING):
        case.plain().train()
    assert "is not done" not in case.caplog.text


@row("disable_tqdm", False)
def disable_tqdm(case: Case) -> None:
    case.plain().train()
    printed = case.capsys.readouterr()
    assert "'loss': " in printed.out
    assert "step " not in printed.err
    case.changed().train()
    shown = case.capsys.readouterr()  # no terminal: lines instead of bars
    assert "'loss': " not in shown.out
    assert ": loss " in shown.err


@row("debug", "underflow_overflow", model=Broken)
def debug(case: Case) -> None:
    assert case.plain().train().global_step == 6
    with pytest.raises(FloatingPointError, match=r"Not finite: output 'loss' .* in batch 1"):
        case.changed().train()
    with pytest.raises(ValueError, match=r"`debug`: 'tpu_metrics_debug' .* torch_xla"):
        make_args(debug="tpu_metrics_debug")


def names_of_metrics(trainer: Trainer) -> set[str]:
    """Names in the metrics of a training and an evaluation that not every run has."""
    names = {*trainer.train().metrics, *trainer.evaluate()}
    return {name for name in names if "_mem_" in name or "tokens" in name}


def files_of_profile(trainer: Trainer) -> set[str]:
    trainer.train()
    return {path.suffix for path in Path(trainer.args.output_dir, "profile").glob("trace-*")}


ROWS = [
    log_level,
    log_level_replica,
    log_on_each_node,
    seen("logging_strategy", "epoch", logged_at("loss"), [1, 2, 3, 4, 5, 6], [6]),
    seen("logging_steps", 3, logged_at("loss"), [1, 2, 3, 4, 5, 6], [3, 6]),
    seen("logging_first_step", True, logged_at("loss"), [], [1], logging_strategy="no"),
    seen(
        "logging_nan_inf_filter",
        False,
        lambda trainer: [loss == loss for loss in logged("loss")(trainer)],
        [True] * 3,
        [False, True, True],
        model=Broken,
        logging_steps=2,
    ),
    logging_dir,
    report_to,
    run_name,
    project,
    reporter_args,
    reporter_errors,
    reporter_timeout,
    disable_tqdm,
    seen(
        "include_num_input_tokens_seen",
        "all",
        logged("num_input_tokens_seen"),
        [],
        [24 * n for n in (1, 2, 3, 4, 5, 6, 6)],
        model=Inputs,
    ),
    seen(
        "include_tokens_per_second",
        True,
        names_of_metrics,
        set(),
        {"train_tokens_per_second"},
        model=Words,
        train_dataset=make_words(),
        eval_dataset=make_words(),
    ),
    seen(
        "skip_memory_metrics",
        False,
        names_of_metrics,
        set(),
        {
            "before_init_mem_cpu",
            *(
                f"{stage}_mem_cpu_{what}_delta"
                for stage in ("init", "train", "eval")
                for what in ("alloc", "peaked")
            ),
        },
    ),
    debug,
    seen("profile", True, files_of_profile, set(), {".json", ".txt"}),
]

"""However a process ends, its reporters are told, and keep it no longer than their limit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        os.name != "posix", reason="processes that fork, and signals, are those of POSIX"
    ),
]

SUPPORT = Path(__file__).parents[2] / "support"

SCRIPT = """
import gc, json, logging, os, signal, sys, time
from concurrent.futures import ThreadPoolExecutor

import torch
from small import make_trainer

from drivetrain import TrainerCallback, register
from drivetrain.plugin import ReporterPlugin

torch.set_num_threads(1)
signal.signal(signal.SIGINT, signal.default_int_handler)
make_trainer().train()  # imports what the processes need, each of which is a copy of this one
sys.stdout.flush()
gc.freeze()  # what the processes share is not looked through at the end of each
children = {}
for scenario in sys.argv[1:]:
    child = os.fork()
    if child == 0:
        sys.stdout = open(f"{scenario}.out", "w", buffering=1)
        os.dup2(os.open(f"{scenario}.err", os.O_CREAT | os.O_WRONLY), 2)
        break
    children[child] = scenario
else:
    while children:
        child, status = os.wait()
        print(json.dumps([children.pop(child), os.waitstatus_to_exitcode(status)]), flush=True)
    os._exit(0)

def say(*told):
    sys.__stdout__ is sys.stdout or sys.stdout.write("told " + json.dumps(told) + "\\n")

class Telling(ReporterPlugin):
    def open(self, run):
        say("open", run.start_step)

    def log(self, values, step):
        time.sleep(0.05)
        say("log", step, *(values[name] for name in values if name == "run/error"))
        if "stuck" in scenario:
            time.sleep(10_000)

    def close(self, outcome):
        if "pool" in scenario:
            with ThreadPoolExecutor() as pool:
                pool.submit(say, "pool").result()
        say("close", outcome)

class End(TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == 3:
            if scenario == "exit":
                sys.exit(3)
            if "error" in scenario:
                raise ArithmeticError("too much")
            if scenario.startswith("SIG"):
                os.kill(os.getpid(), getattr(signal, scenario))

register("reporter", "telling", Telling)
limit = 1 if "stuck" in scenario else 60
trainer = make_trainer(report_to="telling", reporter_timeout=limit, callbacks=[End()])
if "evaluation only" not in scenario:
    trainer.train()
    say("trained")
if "evaluation" in scenario:
    trainer.evaluate()
say("end of script")
"""

SCENARIOS = (
    *("exit", "error", "SIGINT", "SIGTERM", "training", "training, evaluation"),
    *("evaluation only, pool", "stuck in training", "stuck in evaluation only", "stuck and error"),
)


class End(NamedTuple):
    """How a process ended, what its reporter and its script said before, and its errors."""

    code: int
    told: list[list[Any]]
    errors: str


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory) -> dict[str, End]:
    """The ends of all scenarios, which run at once."""
    folder = tmp_path_factory.mktemp("ends")
    (folder / "script.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "script.py", *SCENARIOS],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,  # what is stuck keeps a process for its limit, not for hours
        env={**os.environ, "PYTHONPATH": str(SUPPORT)},
    )
    codes = dict(json.loads(line) for line in done.stdout.splitlines() if line.startswith("["))
    assert set(codes) == set(SCENARIOS), done.stderr

    def read(scenario: str) -> End:
        said = (folder / f"{scenario}.out").read_text().splitlines()
        told = [json.loads(line.removeprefix("told ")) for line in said if line.startswith("told ")]
        return End(codes[scenario], told, (folder / f"{scenario}.err").read_text())

    return {scenario: read(scenario) for scenario in SCENARIOS}


LOGS = [["log", step] for step in (1, 2, 3, 4, 5, 6, 6)]


def test_a_reporter_that_is_slow_gets_everything_before_the_process_ends(ends: dict[str, End]) -> None:
    end = ends["training"]
    assert end.told == [["open", 0], *LOGS, ["close", "finished"], ["trained"], ["end of script"]]
    assert (end.code, end.errors) == (0, "")


def test_what_is_logged_after_training_is_closed_when_the_process_ends(ends: dict[str, End]) -> None:
    end = ends["training, evaluation"]
    trained = [["open", 0], *LOGS, ["close", "finished"], ["trained"]]
    assert end.told[: len(trained)] == trained
    told = end.told[len(trained) :]
    assert [line for line in told if line != ["end of script"]] == [
        ["open", 6],
        ["log", 6],
        ["close", "finished"],
    ]
    assert told.index(["end of script"]) < 3  # it did not wait for the reporter
    assert (end.code, end.errors) == (0, "")


def test_an_error_is_told_before_the_reporter_is_closed(ends: dict[str, End]) -> None:
    end = ends["error"]
    error = ["log", 3, "ArithmeticError: too much"]
    assert end.told == [["open", 0], *LOGS[:2], error, ["close", "failed"]]
    assert end.code == 1
    assert end.errors.rstrip().endswith("ArithmeticError: too much")


@pytest.mark.parametrize(
    ("scenario", "code", "outcomes"),
    [
        ("exit", 3, {"failed", "interrupted"}),
        ("SIGINT", -2, {"interrupted"}),
        ("SIGTERM", 75, {"interrupted"}),
    ],
)
def test_a_process_that_is_left_has_its_reporter_told_what_was_logged_and_closed(
    scenario: str, code: int, outcomes: set[str], ends: dict[str, End]
) -> None:
    end = ends[scenario]
    assert end.code == code, end.errors
    assert end.told[:3] == [["open", 0], *LOGS[:2]]
    assert end.told[-1][0] == "close"
    assert end.told[-1][1] in outcomes


def test_a_reporter_may_start_threads_when_it_is_closed_at_the_end_of_the_process(
    ends: dict[str, End],
) -> None:
    end = ends["evaluation only, pool"]
    assert end.told[-2:] == [["pool"], ["close", "finished"]], end.errors
    assert (end.code, end.errors) == (0, "")


@pytest.mark.parametrize(
    ("scenario", "code"),
    [("stuck in training", 0), ("stuck in evaluation only", 0), ("stuck and error", 1)],
)
def test_a_reporter_that_hangs_does_not_keep_the_process(
    scenario: str, code: int, ends: dict[str, End]
) -> None:
    end = ends[scenario]
    assert end.code == code, end.errors
    told = [told for told in end.told if told[0] in ("open", "log", "close")]
    assert told == [["open", 0], ["log", 0 if "evaluation" in scenario else 1]]
    assert end.errors.count("'telling' is not done 1 s after the run: it has been in `log`") == 1

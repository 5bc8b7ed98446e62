"""A server that misbehaves costs the run nothing but `reporter_timeout`, and what was logged is kept."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import pytest
from forked import Case, run_forked
from servers import MisbehavingServer, Mode, Request
from wandb_files import read_runs

pytestmark = pytest.mark.slow

MODES = [mode for mode in get_args(Mode) if mode != "slow"]

TRAINING = """
import logging, sys
from tests.support.small import are_equal, make_args, make_trainer, weights_of

make_args(report_to="wandb")
assert "wandb" not in sys.modules, "it is imported when the arguments are made"

logging.basicConfig(level=logging.WARNING)
timeout = 0.5 if case == "impatient" else 60
trainer = make_trainer(output_dir="out", report_to="wandb", run_name="a name", reporter_timeout=timeout)
trainer.train()
assert are_equal(expected, weights_of(trainer))
trainer.save_state()
print("TRAINED")
"""


@dataclass(frozen=True)
class Training:
    folder: Path
    returncode: int
    output: str


def answer(request: Request) -> Any:
    """What wandb's server says to a run that begins."""
    variables = request.json().get("variables", {}) if request.path == "/graphql" else {}
    if "CreateRunFiles" in str(request.body):
        return {"data": {"createRunFiles": {"runID": "Ug==", "uploadHeaders": [], "files": []}}}
    if "UpsertBucket" not in str(request.body):
        return {"data": {}}
    project = {"id": "UA==", "name": variables["project"], "entity": {"id": "UQ==", "name": "somebody"}}
    bucket = {"id": "Ug==", "name": variables["name"], "displayName": "a name", "config": "{}"}
    return {
        "data": {
            "upsertBucket": {
                "bucket": {**bucket, "project": project, "historyLineCount": 0},
                "inserted": True,
            }
        }
    }


@pytest.fixture(scope="module")
def trainings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Training]]:
    """A training against each kind of server, and one that waits for half a second only."""
    with ExitStack() as stack:
        cases = {}
        for name in (*MODES, "impatient"):
            server = MisbehavingServer("hang" if name == "impatient" else name, after=2, answer=answer)
            folder = tmp_path_factory.mktemp(name)
            cases[name] = Case(TRAINING, folder, variables(stack.enter_context(server), folder))
        ended = run_forked(cases, without="WANDB_")
        yield {
            name: Training(case.folder, ended[name].returncode, ended[name].output)
            for name, case in cases.items()
        }


def variables(url: str, folder: Path) -> dict[str, str]:
    """What leads to the server, and nothing of the person who runs the tests."""
    folders = ("WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR")
    return {
        **{name: str(folder / "private") for name in folders},
        "NETRC": str(folder / "netrc"),
        "WANDB_BASE_URL": url,
        "WANDB_API_KEY": "0123456789" * 4,
        "WANDB_INIT_TIMEOUT": "2",
        "WANDB_FINISH_TIMEOUT": "2",
    }


@pytest.mark.parametrize("mode", MODES)
def test_training_ends_as_without_the_reporter_and_nothing_is_lost(
    trainings: dict[str, Training], mode: str
) -> None:
    training = trainings[mode]
    assert training.returncode == 0, training.output
    assert "TRAINED" in training.output
    history = json.loads((training.folder / "out" / "trainer_state.json").read_text())["log_history"]
    rows = [row for run in read_runs(training.folder) for row in run.rows]
    losses = [(row["train/global_step"], row["train/loss"]) for row in rows if "train/loss" in row]
    assert losses == [(entry["step"], entry["loss"]) for entry in history if "loss" in entry]


@pytest.mark.parametrize("mode", MODES)
def test_how_to_send_the_run_is_said_once(trainings: dict[str, Training], mode: str) -> None:
    output = trainings[mode].output
    said = "did not send all of the run in 2 s" if mode == "dies" else "wandb cannot be reached"
    assert said in output
    assert output.count("wandb sync ") == 1, output
    assert output.count("drivetrain_wandb") == 1, output
    assert "Traceback" not in output


def test_the_process_ends_although_wandb_still_waits_for_its_server(
    trainings: dict[str, Training],
) -> None:
    training = trainings["impatient"]
    assert training.returncode == 0, training.output
    assert "TRAINED" in training.output
    assert "The reporter 'wandb' is not done" in training.output

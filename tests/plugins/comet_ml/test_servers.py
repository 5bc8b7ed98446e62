"""A server that answers as Comet's does, and those that refuse, hang, fail or die."""

from __future__ import annotations

import gzip
import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any, get_args

import pytest
from tests.support.forked import Case, Ended, run_forked
from tests.support.servers import MisbehavingServer, Mode, Request
from tests.support.small import make_args, make_net

from drivetrain.parts import load_reporter
from drivetrain.plugin import Run

pytestmark = pytest.mark.slow

KEY = "drivetrain0123456789abcdef0123456789"
MODES: list[Mode] = [mode for mode in get_args(Mode) if mode != "slow"]
TRAINING = """
from tests.support.small import are_equal, make_trainer, weights_of

trainer = make_trainer(output_dir="out", report_to="comet_ml", reporter_timeout=3.0)
trainer.train()
assert are_equal(expected, weights_of(trainer))
print("trained")
"""


def answer(request: Request) -> Any:
    """What Comet's server answers, as far as the library looks at it."""
    if request.path.endswith("/isAlive/ver"):
        return {"version": "99.0.0"}
    if "/experiment/metrics/summary" in request.path:
        return {"values": [{"name": "train/loss", "stepCurrent": "4"}]}
    named = {"workspaceName": "us", "projectName": "lines", "projectId": "project"}
    return {"runId": "run", "project_id": "project", "experimentKey": KEY, **named}


def read_metrics(server: MisbehavingServer) -> list[tuple[int, str, float]]:
    bodies = [request.body for request in server.requests if request.path.endswith("/experiment/metric")]
    values = [value for body in bodies for value in json.loads(gzip.decompress(body))["values"]]
    return [(value["step"], value["metricName"], float(value["metricValue"])) for value in values]


def test_what_is_sent_to_a_server_arrives_and_a_resumed_run_leaves_out_what_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMET_API_KEY", KEY)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("COMET_START_ONLINE", raising=False)
    server = MisbehavingServer("slow", answer=answer)
    with server as url:
        monkeypatch.setenv("COMET_URL_OVERRIDE", f"{url}/clientlib/")
        reporter = load_reporter(make_args(tmp_path / "out", report_to="comet_ml"), "comet_ml")
        reporter.prepare()
        reporter.open(Run("resumed", {"a": 1}, make_net(), 2, state={"experiment_key": KEY}))
        for step in range(2, 7):
            reporter.log({"train/loss": step / 10, "train/new": 1.0}, step)
        reporter.close("failed")
    metrics = read_metrics(server)
    assert [metric for metric in metrics if metric[1] == "train/loss"] == [
        (step, "train/loss", step / 10) for step in (2, 5, 6)
    ]
    assert [step for step, name, _ in metrics if name == "train/new"] == [2, 3, 4, 5, 6]
    sent = [request.json() for request in server.requests if request.path.endswith("/update-status")]
    assert {
        "experimentKey": KEY,
        "isAlive": True,
        "error": "The run failed.",
        "hasCrashed": True,
    } in sent
    assert not [path for path in server.paths if "git" in path or "code" in path or "system" in path]


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ended]:
    """How a training ended, for each way to misbehave."""
    cases = {}
    with ExitStack() as stack:
        for mode in MODES:
            folder = tmp_path_factory.mktemp(mode)
            url = stack.enter_context(make_server(mode))
            cases[mode] = Case(TRAINING, folder, variables(url, folder))
        return run_forked(cases, without="COMET_")


@pytest.mark.parametrize("mode", MODES)
def test_the_training_and_the_process_end_whatever_the_server_does(
    ended: dict[str, Ended], mode: str
) -> None:
    run = ended[mode]
    assert run.returncode == 0, run.output
    assert "trained" in run.output
    assert "comet" in run.output.lower(), "nobody says that something is missing"


def make_server(mode: Mode) -> MisbehavingServer:
    """One that dies does so when the experiment has begun."""
    return MisbehavingServer(mode, after=9, answer=answer)


def variables(url: str, folder: Path) -> dict[str, str]:
    """What leads to the server."""
    return {
        "COMET_API_KEY": KEY,
        "COMET_URL_OVERRIDE": f"{url}/clientlib/",
        "COMET_OFFLINE_DIRECTORY": str(folder),
    }

"""Over HTTP: a real `mlflow server`, and servers that misbehave."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient
from tests.support.own_environment import own_environment
from tests.support.servers import MisbehavingServer, Request
from tests.support.small import make_trainer

from drivetrain import TrainerCallback
from drivetrain.plugin import Image

pytestmark = pytest.mark.slow

SIGNS_OF_TESTS = (
    "MLFLOW_DISABLE_TELEMETRY",
    "DO_NOT_TRACK",
    "PYTEST_CURRENT_TEST",
    "CI",
    "GITHUB_ACTIONS",
)
"""Where one of these is set, MLflow does not report on its use anyway."""


@pytest.fixture(scope="module")
def server(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server over an empty database, in one process of what `mlflow server` starts."""
    python = own_environment("mlflow", "mlflow>=3.10")  # half a minute, where it is not there yet
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(migrated, folder)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    variables = {
        "_MLFLOW_SERVER_FILE_STORE": f"sqlite:///{folder / 'mlflow.db'}",
        "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": str(folder / "artifacts"),
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    with (folder / "said").open("w") as said:
        process = subprocess.Popen(
            [python, "-m", "uvicorn", "mlflow.server.fastapi_app:app", "--port", str(port)],
            cwd=folder,
            env={**inherited, **variables},
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait_for(f"http://127.0.0.1:{port}/health", process, folder / "said")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def _wait_for(address: str, process: subprocess.Popen[bytes], said: Path) -> None:
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    pytest.fail(f"the server does not answer:\n{said.read_text()}")


class Reports(TrainerCallback):
    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == 2:
            pixels = np.zeros((4, 6, 3), np.uint8)
            self.trainer.report(
                {"train/sample": "text", "train/picture": Image(pixels), "n": float("nan")}
            )


def test_a_real_server_gets_what_was_logged_and_a_resumed_run_once(
    server: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def train(**resuming: Any) -> Any:
        callback = Reports()
        callback.trainer = make_trainer(
            output_dir=tmp_path,
            callbacks=[callback],
            report_to="mlflow",
            project="over http",
            reporter_args={"mlflow": {"tracking_uri": server, "log_artifacts": True}},
            save_strategy="steps",
            save_steps=4,
            log_level="error",
        )
        callback.trainer.train(**resuming)
        return callback.trainer

    train()
    trainer = train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))
    assert server not in capfd.readouterr().out
    client = MlflowClient(server)
    (run,) = client.search_runs([client.get_experiment_by_name("over http").experiment_id])
    assert run.info.status == "FINISHED"
    assert run.info.end_time > run.info.start_time
    assert run.data.params["learning_rate"] == "0.01"
    points = client.get_metric_history(run.info.run_id, "train/loss")
    losses = [(entry["step"], entry["loss"]) for entry in trainer.state.log_history if "loss" in entry]
    assert sorted((point.step, point.value) for point in points) == losses
    assert np.isnan(run.data.metrics["n"])
    assert len(client.list_artifacts(run.info.run_id, "images")) == 2  # it, and its small copy
    found = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert {"texts", "checkpoint-4", "checkpoint-6", "model"} <= found


RUNS = """
import json, sys, time
from tests.support.small import are_equal, make_trainer, weights_of

plain = make_trainer(output_dir="plain")
plain.train()
took = {}
for mode, url in json.loads(sys.argv[1]).items():
    trainer = make_trainer(
        output_dir=mode,
        report_to="mlflow",
        reporter_args={"mlflow": {"tracking_uri": url}},
        reporter_timeout=2 if mode == "hang" else 30,
    )
    print(f"begins: {mode}", file=sys.stderr, flush=True)
    begin = time.monotonic()
    trainer.train()
    took[mode] = time.monotonic() - begin
    assert are_equal(weights_of(trainer), weights_of(plain)), mode
print("took:", json.dumps(took), flush=True)
make_trainer(
    output_dir="killed",
    report_to="mlflow",
    reporter_args={"mlflow": {"tracking_uri": "sqlite:///killed/mlflow.db"}},
).train()
"""

BYTES_OF_HALF_A_DATABASE = 200_000
"""Some of MLflow's tables are there then, and not all."""


@dataclass
class Ended:
    """A process that was killed after four runs, while the fifth began."""

    folder: Path
    returncode: int
    servers: Mapping[str, MisbehavingServer]

    def said(self, stream: str) -> str:
        return (self.folder / stream).read_text()


def answer(request: Request) -> Any:
    """As a server of MLflow's would, of which every experiment and run has the same name."""
    if "experiments" in request.path:
        return {"experiment": {"experiment_id": "0", "name": "Default", "lifecycle_stage": "active"}}
    info = {"run_id": "a" * 32, "run_uuid": "a" * 32, "experiment_id": "0", "status": "RUNNING"}
    return {"run": {"info": {**info, "lifecycle_stage": "active", "start_time": 1}, "data": {}}}


def size_of_database(folder: Path) -> int:
    sizes = [0]
    for file in folder.glob("*mlflow.db*"):  # whatever it is called meanwhile
        with suppress(FileNotFoundError):
            sizes.append(file.stat().st_size)
    return max(sizes)


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """What is left of the runs above."""
    folder = tmp_path_factory.mktemp("ended")
    servers = {
        "refuse": MisbehavingServer("refuse"),
        "500": MisbehavingServer("500"),
        "dies": MisbehavingServer("dies", after=5, answer=answer),
        "hang": MisbehavingServer("hang"),
    }
    home = folder / "home"
    env = {key: value for key, value in os.environ.items() if key not in SIGNS_OF_TESTS}
    env |= {
        "PYTHONPATH": str(Path(__file__).resolve().parents[3]),
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home),
    }
    with ExitStack() as stack:
        urls = {mode: stack.enter_context(server) for mode, server in servers.items()}
        process = subprocess.Popen(
            [sys.executable, "-c", RUNS, json.dumps(urls)],
            cwd=folder,
            env=env,
            stdout=stack.enter_context((folder / "stdout").open("w")),
            stderr=stack.enter_context((folder / "stderr").open("w")),
        )
        deadline = time.monotonic() + 150
        while process.poll() is None and time.monotonic() < deadline:
            if size_of_database(folder / "killed") > BYTES_OF_HALF_A_DATABASE:
                break
            time.sleep(0.01)
        process.kill()
        return Ended(folder, process.wait(), servers)


def test_a_run_ends_with_its_weights_and_says_what_a_bad_server_has_not_got(ended: Ended) -> None:
    assert not list(
        (ended.folder / "home").rglob("*mlflow*")
    )  # where it would note who reports on its use
    (text,) = re.findall(r"^took: (.*)", ended.said("stdout"), flags=re.MULTILINE)
    took = json.loads(text)
    assert all(seconds < 32 for seconds in took.values()), took
    said = dict(part.split("\n", 1) for part in ended.said("stderr").split("begins: ")[1:])
    for mode in ("refuse", "500"):
        assert said[mode].count("The reporter 'mlflow' failed in `open`") == 1
        assert said[mode].count("The reporter 'mlflow' missed 7 logs, of the steps 1 to 6.") == 1
    assert ended.servers["dies"].num_answered == 5
    assert said["dies"].count("The reporter 'mlflow' failed in `log`") == 1
    assert said["dies"].count("The reporter 'mlflow' missed") == 1
    assert said["hang"].count("The reporter 'mlflow' is not done 2 s after the run") == 1


def test_a_run_finds_no_half_of_a_database_after_one_that_was_killed_while_it_made_it(
    ended: Ended,
) -> None:
    assert ended.returncode == -signal.SIGKILL, ended.said("stderr")
    database = ended.folder / "killed" / "mlflow.db"
    for left in database.parent.iterdir():
        os.utime(left, (0, 0))  # it was long ago
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what MLflow itself calls of SQLAlchemy's is deprecated
        make_trainer(
            output_dir=database.parent,
            report_to="mlflow",
            reporter_args={"mlflow": {"tracking_uri": f"sqlite:///{database}"}},
            reporter_errors="raise",
        ).train()
    (run,) = MlflowClient(f"sqlite:///{database}").search_runs(["0"])
    assert run.info.status == "FINISHED"
    assert [file.name for file in database.parent.glob("*mlflow.db*")] == ["mlflow.db"]

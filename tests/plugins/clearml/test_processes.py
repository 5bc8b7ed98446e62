"""What takes a process of its own: servers that refuse, hang, fail or die, and one that answers."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import pytest
from tests.support.forked import Case, Ended, run_forked
from tests.support.servers import MisbehavingServer, Mode, Request

pytestmark = pytest.mark.slow

README = Path(__file__).resolve().parents[3] / "plugins" / "clearml" / "README.md"
MODES: list[Mode] = [mode for mode in get_args(Mode) if mode != "slow"]
TRAINING = """
from tests.support.small import are_equal, make_trainer, weights_of

trainer = make_trainer(output_dir="out", report_to="clearml", reporter_timeout=3.0)
trainer.train()
assert are_equal(expected, weights_of(trainer))
print("trained")
"""


TASK = {
    "id": "a" * 32,
    "name": "a task",
    "type": "training",
    "status": "in_progress",
    "project": "lines",
}
RESUMED = f"""
import torch
from drivetrain import TrainingArguments
from drivetrain.parts import load_reporter
from drivetrain.plugin import Run

reporter = load_reporter(TrainingArguments("out", report_to="clearml", use_cpu=True), "clearml")
reporter.prepare()
reporter.open(Run("resumed", {{"a": 1}}, torch.nn.Linear(1, 1), 2, state={{"task_id": "{TASK["id"]}"}}))
for step in range(2, 7):
    reporter.log({{"train/loss": step / 10, "train/new": 1.0}}, step)
reporter.log({{"run/error": "too large"}}, 6)
reporter.close("failed")
print(reporter.state())
"""
PROCESS = """
import argparse, builtins, logging, multiprocessing.process, os, random, signal, sys, threading
import numpy, torch
import drivetrain_clearml.reporter
from drivetrain import TrainingArguments
from drivetrain.parts import load_reporter
from drivetrain.plugin import Run

def look():
    parser = argparse.ArgumentParser
    return {
        "argparse": (parser.parse_args, parser.parse_known_args, parser.add_subparsers),
        "hooks": (sys.excepthook, sys.exit, builtins.__import__, threading.excepthook, os.fork),
        "processes": multiprocessing.process.BaseProcess.run,
        "environment": dict(os.environ),
        "handlers": [signal.getsignal(number) for number in signal.valid_signals()],
        "streams": (sys.stdout, sys.stderr, sys.stdout.write, logging.root.handlers[:]),
        "python": random.getstate(),
        "numpy": str(numpy.random.get_state()),
        "torch": torch.get_rng_state().tolist(),
    }

def report():
    reporter.open(Run("a run", {}, model, 0))
    while_open.append(look())
    reporter.log({"train/loss": 1.0}, 1)
    reporter.close("finished")

assert "clearml" not in sys.modules
args, model = TrainingArguments("out", report_to="clearml", use_cpu=True), torch.nn.Linear(1, 1)
reporter, before, while_open = load_reporter(args, "clearml"), look(), []
reporter.prepare()
thread = threading.Thread(target=report)
thread.start()
thread.join()
for there in (*while_open, look()):
    changed = [name for name in before if before[name] != there[name]]
    assert not changed, [(before[name], there[name]) for name in changed]
assert while_open
"""


@dataclass(frozen=True)
class Runs:
    """How they ended, and the server that behaves."""

    ended: dict[str, Ended]
    server: MisbehavingServer


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """A training for each way to misbehave, a run that is resumed with a server that does not, and others."""
    servers = {mode: make_server(mode) for mode in (*MODES, "slow")}
    cases = {}
    with ExitStack() as stack:
        for mode, server in servers.items():
            folder = tmp_path_factory.mktemp(mode)
            found = variables(stack.enter_context(server), folder)
            cases[mode] = Case(RESUMED if mode == "slow" else TRAINING, folder, found)
        for name, code in (("process", PROCESS), ("readme", read_snippets())):
            folder = tmp_path_factory.mktemp(name)
            cases[name] = Case(code, folder, offline(folder))
        yield Runs(run_forked(cases, without="CLEARML_"), servers["slow"])


def test_what_is_sent_to_a_server_arrives_and_a_resumed_run_leaves_out_what_it_has(runs: Runs) -> None:
    run, server = runs.ended["slow"], runs.server
    assert run.returncode == 0, run.output
    assert run.output == f"{{'task_id': '{TASK['id']}'}}\n"
    sent = [
        line
        for request in server.requests
        if "add_batch" in request.path
        for line in request.body.splitlines()
    ]
    events = [event for event in map(json.loads, sent) if event["type"] == "training_stats_scalar"]
    assert [(event["iter"], event["value"]) for event in events if event["variant"] == "loss"] == [
        (2, 0.2),
        (5, 0.5),
        (6, 0.6),
    ]
    assert [event["iter"] for event in events if event["variant"] == "new"] == [2, 3, 4, 5, 6]
    assert not [path for path in server.paths if path.endswith("tasks.create")]
    (failed,) = [request.json() for request in server.requests if request.path.endswith("tasks.failed")]
    assert failed["status_message"] == "too large"


@pytest.mark.parametrize("mode", MODES)
def test_the_training_and_the_process_end_whatever_the_server_does(runs: Runs, mode: str) -> None:
    run = runs.ended[mode]
    assert run.returncode == 0, run.output
    assert "trained" in run.output
    assert "clearml" in run.output.lower(), "nobody says that something is missing"


def test_a_task_changes_nothing_in_the_process(runs: Runs) -> None:
    run = runs.ended["process"]
    assert (run.returncode, run.output) == (0, "")


def test_the_snippets_of_the_readme_run_the_second_after_the_first(runs: Runs) -> None:
    run = runs.ended["readme"]
    assert run.returncode == 0, run.output
    assert re.search(r"^8 train loss [\d.]+$", run.output, flags=re.MULTILINE), run.output


def read_snippets() -> str:
    return "\n".join(re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL))


def offline(folder: Path) -> dict[str, str]:
    """What keeps a run on this machine, away from the person who runs the tests."""
    matplotlib = str(Path.home() / ".cache" / "matplotlib")
    return {"HOME": str(folder), "CLEARML_OFFLINE_MODE": "1", "MPLCONFIGDIR": matplotlib}


def make_server(mode: Mode) -> MisbehavingServer:
    """One that dies does so when the task has begun."""
    return MisbehavingServer(mode, after=14, answer=answer)


def answer(request: Request) -> Any:
    """What ClearML's server answers, as far as the library looks at it."""
    name = request.path.split("/")[-1]
    project = {"id": TASK["project"], "name": TASK["project"]}
    data = {
        "auth.login": {"token": make_token()},
        "tasks.create": {"id": TASK["id"]},
        "tasks.get_by_id": {"task": TASK},
        "tasks.get_all": {"tasks": [TASK]},
        "projects.get_all": {"projects": [project]},
        "projects.get_by_id": {"project": project},
        "events.scalar_metrics_iter_histogram": {"train": {"loss": {"x": [1, 2, 3, 4], "y": [0.1] * 4}}},
    }
    return {"meta": {"result_code": 200, "id": "1"}, "data": data.get(name, {})}


def make_token() -> str:
    """One that nobody has signed, and that never expires."""
    parts = {"alg": "HS256", "typ": "JWT"}, {"exp": 4102444800, "iat": 0, "api_version": "2.30"}
    return ".".join(
        [*(base64.urlsafe_b64encode(json.dumps(part).encode()).decode() for part in parts), "c2ln"]
    )


def variables(url: str, folder: Path) -> dict[str, str]:
    """What leads to the server."""
    return {
        "CLEARML_API_HOST": url,
        "CLEARML_WEB_HOST": url,
        "CLEARML_FILES_HOST": url,
        "CLEARML_API_ACCESS_KEY": "drivetrain",
        "CLEARML_API_SECRET_KEY": "drivetrain",
        "CLEARML_CACHE_DIR": str(folder / "cache"),
    }

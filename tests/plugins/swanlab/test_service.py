"""SwanLab's service: one that answers as the real one does, and some that do not do what one hopes for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.support.forked import Case, Ended, run_forked
from tests.support.servers import MisbehavingServer, Mode, Request
from tests.support.small import make_trainer

pytestmark = pytest.mark.slow

MODES: tuple[Mode, ...] = ("hang", "500", "dies")


def answer(request: Request) -> Any:
    """What the service answers, as far as a run asks; it has the loss of the steps 1 and 2 already."""
    path = request.path
    if path.endswith("/login/api_key"):
        return {"sid": "s", "expiredAt": "2100-01-01T00:00:00.000Z", "userInfo": {"username": "me"}}
    if path.endswith("/experiment"):
        return {"cuid": "e1", "slug": "e1", "name": "n", "createdAt": "2026-11-23T00:00:00.000Z"}
    if "/metrics/summaries/" in path:
        return {"scalar": [{"key": "train/loss", "step": 2}], "media": [], "log": []}
    if "/project/" in path and request.method == "GET":
        group = {"username": "me"}
        count = {"experiments": 0}
        return {
            "group": group,
            "name": "p",
            "_count": count,
            "cuid": "p1",
            "path": "/me/p",
            "version": 1,
        }
    return {}


def configuration(url: str, folder: Path) -> dict[str, str]:
    return {
        "HOME": str(folder),
        "SWANLAB_MODE": "cloud",
        "SWANLAB_API_KEY": "k" * 21,
        "SWANLAB_API_HOST": url,
        "SWANLAB_LOG_DIR": str(folder / "swanlog"),
    }


def test_the_service_gets_the_run_its_values_once_and_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = MisbehavingServer("slow", answer=answer)
    with service as url:
        for name, value in configuration(url, tmp_path).items():
            monkeypatch.setenv(name, value)
        trainer = make_trainer(
            output_dir=tmp_path / "out", report_to="swanlab", max_steps=4, run_name="a run"
        )
        trainer.train()
    sent: dict[str, list[tuple[int, float]]] = {}
    for request in service.requests:
        if request.path.endswith("/house/metrics"):
            for point in request.json()["metrics"]:
                sent.setdefault(point["key"], []).append((point["index"], point["data"]))
    logged = {entry["step"]: entry for entry in trainer.state.log_history if "loss" in entry}
    assert sent["train/loss"] == [(step, pytest.approx(logged[step]["loss"])) for step in (3, 4)]
    assert [step for step, _ in sent["train/learning_rate"]] == [1, 2, 3, 4]
    (begun,) = (r.json() for r in service.requests if r.path.endswith("/experiment"))
    assert begun["name"] == "a run"
    (ended,) = (r.json() for r in service.requests if r.path.endswith("/state"))
    assert ended["state"] == "FINISHED"


UNHAPPY_RUN = """
import logging, threading, time
from tests.support.small import are_equal, make_trainer, weights_of

hint = threading.Event()


def note(record):
    if "can be sent later" in record.getMessage():
        hint.set()
    return True


logging.getLogger("drivetrain_swanlab.listening").addFilter(note)
trainer = make_trainer(output_dir="out", report_to="swanlab", reporter_timeout=3)
begun = time.monotonic()
trainer.train()
assert are_equal(expected, weights_of(trainer))
print("trained in", time.monotonic() - begun)
if case == "dies":
    assert hint.wait(100)
"""


@pytest.fixture(scope="module")
def unhappy_runs(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Mapping[str, tuple[Ended, Path]]]:
    """How runs end, each in a process of its own, whose service hangs, fails, or dies half way."""
    with ExitStack() as stack:
        cases = {}
        for mode in MODES:
            folder = tmp_path_factory.mktemp(mode)
            url = stack.enter_context(MisbehavingServer(mode, after=5, answer=answer))
            cases[mode] = Case(UNHAPPY_RUN, folder, configuration(url, folder))
        ended = run_forked(cases, without="SWANLAB_")
        yield {mode: (ended[mode], case.folder) for mode, case in cases.items()}


@pytest.mark.parametrize("mode", MODES)
def test_training_ends_whatever_the_service_does_and_says_so_once(
    unhappy_runs: Mapping[str, tuple[Ended, Path]], mode: str
) -> None:
    ended, _ = unhappy_runs[mode]
    assert ended.returncode == 0, ended.output
    (seconds,) = re.findall(r"^trained in (.*)$", ended.output, flags=re.MULTILINE)
    assert float(seconds) < 3 + 30
    assert ended.output.count("The reporter 'swanlab' is not done 3 s after the run") == 1


def test_what_the_service_lacks_is_on_this_machine_and_can_be_sent_later(
    unhappy_runs: Mapping[str, tuple[Ended, Path]],
) -> None:
    ended, folder = unhappy_runs["dies"]
    assert ended.output.count("can be sent later: `swanlab sync ") == 1
    from drivetrain_swanlab.past import read_records

    (file,) = (folder / "swanlog").rglob("*.swanlab")
    kinds = [record.WhichOneof("record_type") for record in read_records(file)]
    assert kinds.count("scalar") > 4
    assert kinds[-1] == "finish"

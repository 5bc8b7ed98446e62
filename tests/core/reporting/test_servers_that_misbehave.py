"""A reporter that speaks to a server: whatever the server does, the run is what it would have been."""

from __future__ import annotations

import time
from typing import Any

import pytest
import torch
from fragile import Posting
from servers import MisbehavingServer, Mode
from small import are_equal, make_trainer, weights_of

from drivetrain import Trainer, TrainerCallback, register


@pytest.fixture(scope="module")
def quiet_weights() -> dict[str, torch.Tensor]:
    trainer = make_trainer()
    trainer.train()
    return weights_of(trainer)


def train_with(url: str, *callbacks: TrainerCallback) -> Trainer:
    register("reporter", "posting", type("Told", (Posting,), {"url": url}))
    trainer = make_trainer(
        report_to="posting", reporter_timeout=15, run_name="mine", callbacks=list(callbacks)
    )
    trainer.train()
    return trainer


def texts_of(caplog: pytest.LogCaptureFixture) -> str:
    return "\n".join(record.getMessage() for record in caplog.records)


def steps_of(server: MisbehavingServer) -> list[int]:
    return [request.json()["step"] for request in server.requests if request.path == "/log"]


@pytest.mark.parametrize(
    ("mode", "first_failure"), [("refuse", "open"), ("hang", "open"), ("500", "open"), ("dies", "log")]
)
def test_a_run_ends_with_the_right_weights_and_says_once_what_is_missing(
    mode: Mode,
    first_failure: str,
    quiet_weights: dict[str, torch.Tensor],
    caplog: pytest.LogCaptureFixture,
) -> None:
    with MisbehavingServer(mode) as url:
        trainer = train_with(url)
    assert are_equal(weights_of(trainer), quiet_weights)
    texts = texts_of(caplog)
    assert texts.count(f"'posting' failed in `{first_failure}`") == 1
    assert texts.count("failed in") == 1
    assert texts.count("switched off") == 1
    num_logs, first = (7, 1) if mode != "dies" else (5, 3)
    assert texts.count(f"missed {num_logs} logs, of the steps {first} to 6") == 1


class Repair(TrainerCallback):
    """Has the server work again at the end of training, when the reporter has been switched off."""

    def __init__(self, server: MisbehavingServer, caplog: pytest.LogCaptureFixture) -> None:
        self.server = server
        self.caplog = caplog

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        deadline = time.monotonic() + 20
        while "switched off" not in texts_of(self.caplog) and time.monotonic() < deadline:
            time.sleep(0.01)
        self.server.recover()


@pytest.mark.parametrize(("mode", "num_failures"), [("500", 1), ("dies", 1), ("refuse", 0)])
def test_what_comes_back_before_the_end_gets_everything_in_order(
    mode: Mode,
    num_failures: int,
    quiet_weights: dict[str, torch.Tensor],
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = MisbehavingServer(mode)
    with server as url:
        trainer = train_with(url, Repair(server, caplog))
    assert are_equal(weights_of(trainer), quiet_weights)
    failed = server.requests.pop(0 if mode == "500" else 3) if num_failures else None
    assert failed is None or failed.path == ("/open" if mode == "500" else "/log")
    assert server.paths == ["/open", *["/log"] * 7, "/close"]
    assert steps_of(server) == [1, 2, 3, 4, 5, 6, 6]
    assert server.requests[-1].json() == {"outcome": "finished"}
    (recovered,) = (line for line in texts_of(caplog).splitlines() if "missed" in line)
    assert f"got the {5 if mode == 'dies' else 7} logs that it had missed" in recovered


def test_a_server_that_is_slow_gets_everything_once_and_in_order(
    quiet_weights: dict[str, torch.Tensor], caplog: pytest.LogCaptureFixture
) -> None:
    server = MisbehavingServer("slow", delay=0.1)
    with server as url:
        trainer = train_with(url)
    assert are_equal(weights_of(trainer), quiet_weights)
    assert server.paths == ["/open", *["/log"] * 7, "/close"]
    assert steps_of(server) == [1, 2, 3, 4, 5, 6, 6]
    assert caplog.records == []

"""A reporter that hangs or is slow: training does not wait for it, and at its end only so long."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fragile import Act, Fragile, logs_of, make_fragile
from small import are_equal, make_trainer, weights_of

from drivetrain import TrainerCallback, register
from drivetrain.reporting.courier import MOST_KEPT

LIMIT = 20
"""Seconds in which a thread that has nothing more to do must be gone, on a busy machine."""


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What hangs goes on when it is set, and no thread of a reporter is left behind then."""
    event, before = threading.Event(), threads_of_reporters()
    yield event
    event.set()
    wait_for(lambda: threads_of_reporters() <= before)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def threads_of_reporters() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("reporter ")}


def hang_in(where: str, gate: threading.Event) -> Act:
    """Hang in the first call of a method until the gate opens."""

    def act(method: str, time: int) -> None:
        if method == where and time == 1:
            assert gate.wait(300)

    return act


class OpenAtTheEnd(TrainerCallback):
    """Opens the gate when all updates are done: a run that waited for it would never come so far."""

    def __init__(self, gate: threading.Event, reporter: type[Fragile]) -> None:
        self.gate = gate
        self.reporter = reporter

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.had_arrived = [call for call in self.reporter.calls if call[0] == "log"]
        self.gate.set()


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_reporter_that_is_done_leaves_no_thread_and_no_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    before = threads_of_reporters()
    cls = make_fragile()
    register("reporter", "quick", cls)
    trainer = make_trainer(report_to="quick")
    trainer.train()
    assert cls.calls == [("open", 0), *logs_of(trainer), ("close", "finished")]
    (thread,) = cls.threads
    assert thread is not threading.main_thread()
    assert thread.daemon
    wait_for(lambda: threads_of_reporters() <= before)
    trainer.evaluate()
    wait_for(lambda: cls.calls[-2:] == [("open", 6), ("log", 6)])
    trainer.train()
    wait_for(lambda: threads_of_reporters() <= before)
    assert warnings_of(caplog) == []


@pytest.mark.parametrize("where", ["open", "log"])
def test_training_does_not_wait_for_a_reporter_that_does(
    where: str, gate: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    cls = make_fragile(hang_in(where, gate))
    register("reporter", "slow", cls)
    opening = OpenAtTheEnd(gate, cls)
    trainer = make_trainer(report_to="slow", reporter_timeout=LIMIT, callbacks=[opening])
    trainer.train()
    assert opening.had_arrived == []
    assert cls.calls == [("open", 0), *logs_of(trainer), ("close", "finished")]
    assert warnings_of(caplog) == []


def test_what_is_slow_gets_everything_in_order() -> None:
    cls = make_fragile(lambda method, time: time_passes(method))
    register("reporter", "slow", cls)
    quiet = make_trainer()
    quiet.train()
    trainer = make_trainer(report_to="slow", reporter_timeout=LIMIT)
    trainer.train()
    assert are_equal(weights_of(quiet), weights_of(trainer))
    assert cls.calls == [("open", 0), *logs_of(trainer), ("close", "finished")]


def time_passes(method: str) -> None:
    if method == "log":
        time.sleep(0.05)


@pytest.mark.parametrize("where", ["open", "log", "close"])
def test_a_run_does_not_wait_longer_than_the_limit_for_what_hangs_and_says_where_it_does(
    where: str, gate: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    quiet = make_trainer()
    quiet.train()
    cls = make_fragile(hang_in(where, gate))
    register("reporter", "stuck", cls)
    trainer = make_trainer(report_to="stuck", reporter_timeout=1)
    trainer.train()
    assert ("close", "finished") not in cls.calls
    assert are_equal(weights_of(quiet), weights_of(trainer))
    (said,) = warnings_of(caplog)
    assert "'stuck'" in said
    assert f"`{where}`" in said
    num_waiting = {"open": 7, "log": 6, "close": 0}[where]
    assert f"{num_waiting} logs" in said
    gate.set()  # as long as the process lives, it goes on
    wait_for(lambda: cls.calls[-1:] == [("close", "finished")])
    assert cls.calls == [("open", 0), *logs_of(trainer), ("close", "finished")]


def test_several_that_hang_share_the_limit(
    gate: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    stuck = {f"stuck{i}": make_fragile(hang_in("log", gate)) for i in range(8)}
    for name, cls in {**stuck, "quick": make_fragile()}.items():
        register("reporter", name, cls)
    trainer = make_trainer(report_to=[*stuck, "quick"], reporter_timeout=2)
    started = time.monotonic()
    trainer.train()
    assert time.monotonic() - started < 12  # one after the other they would have taken 16
    assert [name for name in stuck if f"'{name}'" in " ".join(warnings_of(caplog))] == list(stuck)
    assert "'quick'" not in " ".join(warnings_of(caplog))


def test_what_hangs_through_two_runs_is_still_told_one_thing_after_the_other(
    gate: threading.Event,
) -> None:
    busy = threading.Lock()
    clashes = []

    def act(method: str, time: int) -> None:
        if not busy.acquire(blocking=False):
            clashes.append(method)
            return
        try:
            if method == "log" and time == 1:
                gate.wait(300)
        finally:
            busy.release()

    cls = make_fragile(act)
    register("reporter", "stuck", cls)
    trainer = make_trainer(report_to="stuck", reporter_timeout=0.5)
    trainer.train()
    trainer.train()
    gate.set()
    wait_for(lambda: [call[0] for call in cls.calls].count("close") == 2)
    assert clashes == []
    assert [call for call in cls.calls if call[0] != "log"] == [("open", 0), ("close", "finished")] * 2


def test_what_waits_for_a_reporter_that_hangs_is_bounded(
    gate: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    class Chatty(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == 1:
                for number in range(MOST_KEPT + 100):
                    trainer.report({"number": number})

    cls = make_fragile(hang_in("open", gate))
    register("reporter", "stuck", cls)
    trainer = make_trainer(report_to="stuck", reporter_timeout=LIMIT, callbacks=[Chatty()])
    trainer.add_callback(OpenAtTheEnd(gate, cls))
    trainer.train()
    numbers = [values["number"] for _, values in cls.logged if "number" in values]
    assert numbers == list(range(len(numbers)))
    assert len(cls.logged) == MOST_KEPT
    (missed,) = (text for text in warnings_of(caplog) if "missed" in text)
    assert f"missed {100 + 7} logs" in missed
    assert cls.calls[-1] == ("close", "finished")

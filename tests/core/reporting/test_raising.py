"""`reporter_errors="raise"`: an error in a reporter ends the run, there and then."""

from __future__ import annotations

import threading

import pytest
from fragile import fail_in, logs_of, make_fragile
from small import make_trainer

from drivetrain import register
from drivetrain_registry import UsageError


def test_an_error_in_open_ends_the_run_before_its_first_update() -> None:
    cls = make_fragile(fail_in("open"))
    register("reporter", "shaky", cls)
    trainer = make_trainer(report_to="shaky", reporter_errors="raise")
    with pytest.raises(ConnectionError, match="no such host"):
        trainer.train()
    assert trainer.state.global_step == 0
    assert cls.calls == []


def test_an_error_in_log_ends_the_run_at_its_step_and_the_reporter_is_closed() -> None:
    cls, other = make_fragile(fail_in("log", lambda time: time == 3)), make_fragile()
    register("reporter", "shaky", cls)
    register("reporter", "other", other)
    trainer = make_trainer(report_to=["other", "shaky"], reporter_errors="raise")
    with pytest.raises(ConnectionError, match="no such host"):
        trainer.train()
    assert trainer.state.global_step == 3
    assert cls.threads == {threading.main_thread()}
    for told in (cls, other):
        assert told.calls[:3] == [("open", 0), ("log", 1), ("log", 2)]
        assert told.calls[-1] == ("close", "failed")
    texts = [values.get("run/error") for _, values in other.logged]
    assert texts[-1] == "ConnectionError: no such host"


def test_an_error_in_close_is_raised_after_all_others_are_closed() -> None:
    cls, other = make_fragile(fail_in("close")), make_fragile()
    register("reporter", "shaky", cls)
    register("reporter", "other", other)
    trainer = make_trainer(report_to=["shaky", "other"], reporter_errors="raise")
    with pytest.raises(ConnectionError, match="no such host"):
        trainer.train()
    assert trainer.state.global_step == 6
    assert other.calls == [("open", 0), *logs_of(trainer), ("close", "finished")]


def test_an_error_in_an_evaluation_is_raised_too() -> None:
    register("reporter", "shaky", make_fragile(fail_in("log")))
    trainer = make_trainer(report_to="shaky", reporter_errors="raise")
    with pytest.raises(ConnectionError, match="no such host"):
        trainer.evaluate()


def test_the_error_of_the_run_is_not_hidden_by_that_of_a_reporter() -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise ArithmeticError("the run's own")

    register("reporter", "shaky", make_fragile(fail_in("close")))
    trainer = make_trainer(report_to="shaky", reporter_errors="raise", compute_loss_func=fail)
    with pytest.raises(ArithmeticError, match="the run's own"):
        trainer.train()


def test_what_else_it_may_be_is_said() -> None:
    with pytest.raises((UsageError, ValueError), match="`reporter_errors`.*'explode'"):
        make_trainer(reporter_errors="explode")


@pytest.mark.parametrize("seconds", [-1, float("nan")])
def test_a_limit_is_no_less_than_nothing(seconds: float) -> None:
    with pytest.raises(ValueError, match="`reporter_timeout`"):
        make_trainer(reporter_timeout=seconds)

"""A reporter that raises: the run goes on, it is heard of once, and gets at the end what it missed."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from fragile import Act, fail_in, logs_of, make_fragile
from small import are_equal, make_trainer, weights_of

from drivetrain import Trainer, register
from drivetrain.plugin import Run


@pytest.fixture(scope="module")
def quiet_weights() -> dict[str, torch.Tensor]:
    """What a run without a reporter ends with."""
    trainer = make_trainer()
    trainer.train()
    return weights_of(trainer)


@pytest.fixture
def train(
    quiet_weights: dict[str, torch.Tensor], caplog: pytest.LogCaptureFixture
) -> Iterator[Callable[..., Trainer]]:
    """Trains with the reporters given, by name; the weights must be those of a run without."""

    def train_with(resume: Any = None, **options: Any) -> Trainer:
        reporters = {
            name: options.pop(name) for name in list(options) if isinstance(options[name], type)
        }
        for name, cls in reporters.items():
            register("reporter", name, cls, replace=True)
        with caplog.at_level(logging.INFO, logger="drivetrain"):
            trainer = make_trainer(report_to=list(reporters), reporter_timeout=20, **options)
            trainer.train(resume_from_checkpoint=resume)
        assert are_equal(weights_of(trainer), quiet_weights)
        return trainer

    yield train_with
    assert all(record.name.startswith("drivetrain") for record in caplog.records)


def messages(caplog: pytest.LogCaptureFixture, text: str) -> list[str]:
    return [record.getMessage() for record in caplog.records if text in record.getMessage()]


def test_what_cannot_be_opened_is_told_nothing_and_what_it_missed_is_said(
    train: Callable[..., Trainer], caplog: pytest.LogCaptureFixture
) -> None:
    cls = make_fragile(fail_in("open"))
    trainer = train(shaky=cls)
    assert cls.calls == []
    assert (cls.tries["open"], cls.tries["close"]) == (2, 0)  # at the beginning and at the end
    assert len(messages(caplog, "'shaky' failed in `open`")) == 1
    assert len(messages(caplog, "'shaky' could not be opened and is switched off")) == 1
    (missed,) = messages(caplog, "missed")
    assert f"'shaky' missed {len(logs_of(trainer))} logs, of the steps 1 to 6" in missed
    assert caplog.text.count("ConnectionError: no such host") == 1


def test_what_can_be_opened_at_the_end_gets_the_whole_run_then(
    train: Callable[..., Trainer], caplog: pytest.LogCaptureFixture
) -> None:
    cls = make_fragile(fail_in("open", lambda time: time == 1))
    trainer = train(shaky=cls)
    assert cls.calls == [("open", 0), *logs_of(trainer), ("close", "finished")]
    assert messages(caplog, "missed") == messages(caplog, "works again")


@pytest.mark.parametrize("num_failures", [1, 2])
def test_a_log_that_failed_arrives_once_nonetheless(
    num_failures: int, train: Callable[..., Trainer], caplog: pytest.LogCaptureFixture
) -> None:
    cls = make_fragile(fail_in("log", lambda time: 2 <= time < 2 + num_failures))
    trainer = train(shaky=cls)
    assert sorted(step for _, step in cls.calls[1:-1]) == [step for _, step in logs_of(trainer)]
    assert (cls.calls[0], cls.calls[-1]) == (("open", 0), ("close", "finished"))
    assert len(messages(caplog, "'shaky' failed in `log`; training goes on")) == 1
    assert messages(caplog, "switched off") == []


def test_what_fails_from_the_third_log_on_is_switched_off_and_gets_the_rest_in_order_at_the_end(
    train: Callable[..., Trainer], caplog: pytest.LogCaptureFixture
) -> None:
    cls = make_fragile(fail_in("log", lambda time: 3 <= time <= 5))
    trainer = train(shaky=cls)
    assert cls.calls == [("open", 0), *logs_of(trainer), ("close", "finished")]
    expected = [
        {f"train/{name}": value for name, value in entry.items() if name != "step"}
        for entry in trainer.state.log_history
    ]
    for (_, values), entry in zip(cls.logged, expected, strict=True):
        assert {name: values[name] for name in entry} == entry
    assert len(messages(caplog, "'shaky' failed 3 times in a row and is switched off")) == 1
    (recovered,) = messages(caplog, "missed")
    assert f"works again: it has got the {len(logs_of(trainer)) - 2} logs" in recovered


def test_what_fails_in_every_log_is_tried_six_times_closed_and_what_it_missed_is_said(
    train: Callable[..., Trainer], caplog: pytest.LogCaptureFixture
) -> None:
    cls = make_fragile(fail_in("log"))
    trainer = train(shaky=cls)
    assert cls.calls == [("open", 0), ("close", "finished")]
    assert cls.tries["log"] == 6
    assert len(messages(caplog, "'shaky' failed in `log`")) == 1
    assert len(messages(caplog, "is switched off")) == 1
    (missed,) = messages(caplog, "missed")
    assert f"missed {len(logs_of(trainer))} logs, of the steps 1 to 6" in missed
    assert caplog.text.count("ConnectionError: no such host") == 1


def test_what_fails_when_it_is_closed_is_heard_of_once(
    train: Callable[..., Trainer], caplog: pytest.LogCaptureFixture
) -> None:
    cls = make_fragile(fail_in("close"))
    trainer = train(shaky=cls)
    assert cls.calls == [("open", 0), *logs_of(trainer)]
    assert len(messages(caplog, "'shaky' failed in `close`")) == 1
    assert messages(caplog, "missed") == []


@pytest.mark.parametrize("where", ["log_checkpoint", "log_model"])
def test_artefacts_that_fail_are_tried_again_and_leave_nothing_behind(
    where: str, train: Callable[..., Trainer], own_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cls = make_fragile(fail_in(where, lambda time: time == 1), takes_checkpoints=True, takes_model=True)
    trainer = train(shaky=cls, save_strategy="steps", save_steps=3, save_total_limit=1)
    arrived = [call for call in cls.calls if call[0].startswith("log_")]
    assert sorted(arrived) == [("log_checkpoint", 3), ("log_checkpoint", 6), ("log_model", "model")]
    assert [call for call in cls.calls if call[0] == "log"] == logs_of(trainer)
    assert len(messages(caplog, f"'shaky' failed in `{where}`")) == 1
    assert sorted(path.name for path in (own_folder / "out").iterdir()) == ["checkpoint-6"]


def test_an_artefact_that_never_arrives_is_said(
    train: Callable[..., Trainer], own_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cls = make_fragile(fail_in("log_checkpoint"), takes_checkpoints=True)
    train(shaky=cls, save_strategy="steps", save_steps=6)
    assert ("log_checkpoint", 6) not in cls.calls
    assert "checkpoint" in " ".join(messages(caplog, "missed"))
    assert sorted(path.name for path in (own_folder / "out").iterdir()) == ["checkpoint-6"]


def test_a_folder_that_artefacts_cannot_be_copied_to_does_not_end_the_run(
    train: Callable[..., Trainer], own_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (own_folder / "out").mkdir()
    (own_folder / "out" / ".reporting").write_text("in the way")
    cls = make_fragile(takes_checkpoints=True, takes_model=True)
    trainer = train(shaky=cls, save_strategy="steps", save_steps=6)
    assert cls.calls == [("open", 0), *logs_of(trainer), ("close", "finished")]
    assert messages(caplog, "shaky")


@pytest.mark.parametrize(
    "error", [SystemExit(1), asyncio.CancelledError(), KeyboardInterrupt(), RecursionError()]
)
def test_what_a_library_raises_does_not_matter(
    error: BaseException, train: Callable[..., Trainer], caplog: pytest.LogCaptureFixture
) -> None:
    def act(method: str, time: int) -> None:
        if method == "log" and time == 2:
            raise error

    cls = make_fragile(act)
    trainer = train(shaky=cls)
    assert sorted(cls.calls[1:-1]) == sorted(logs_of(trainer))
    assert cls.calls[-1] == ("close", "finished")
    assert len(messages(caplog, "'shaky' failed in `log`")) == 1


def test_an_error_in_prepare_does_not_end_the_run(
    train: Callable[..., Trainer], caplog: pytest.LogCaptureFixture
) -> None:
    def prepare(self: Any) -> None:
        raise OSError("no such folder")

    cls = make_fragile(prepare=prepare)
    trainer = train(shaky=cls)
    assert cls.calls == [("open", 0), *logs_of(trainer), ("close", "finished")]
    assert len(messages(caplog, "'shaky' failed in `prepare`")) == 1


def raise_instead(self: Any) -> Any:
    raise OSError("no such folder")


@pytest.mark.parametrize("state", [raise_instead, lambda self: {"run": object()}, lambda self: 3])
def test_a_state_that_cannot_be_kept_does_not_end_the_run_and_spoils_no_checkpoint(
    state: Any, train: Callable[..., Trainer], caplog: pytest.LogCaptureFixture
) -> None:
    cls = make_fragile(state=state)
    train(shaky=cls, save_strategy="steps", save_steps=3)
    assert len(messages(caplog, "'shaky' failed in `state`")) == 1
    cls = make_fragile()
    train(shaky=cls, save_strategy="steps", save_steps=3, resume="out/checkpoint-3")
    assert cls.runs[0].state == {}


def test_the_state_of_a_checkpoint_is_given_to_the_run_that_resumes_from_it(
    train: Callable[..., Trainer],
) -> None:
    def note(self: Any, run: Run) -> None:
        self.runs.append(run)
        self.identity = run.state.get("run", len(self.runs))

    cls = make_fragile(open=note, state=lambda self: {"run": self.identity, "of": ["é", None]})
    train(shaky=cls, save_strategy="steps", save_steps=3)
    train(shaky=cls, save_strategy="steps", save_steps=3, resume="out/checkpoint-3")
    train(shaky=cls, save_strategy="steps", save_steps=3)
    states = [(run.start_step, dict(run.state)) for run in cls.runs]
    assert states == [(0, {}), (3, {"run": 1, "of": ["é", None]}), (0, {})]


def test_one_that_fails_keeps_nothing_from_another(train: Callable[..., Trainer]) -> None:
    others = [make_fragile(), make_fragile()]
    trainer = train(first=others[0], shaky=make_fragile(fail_in("open")), last=others[1])
    for other in others:
        assert other.calls == [("open", 0), *logs_of(trainer), ("close", "finished")]


def test_one_that_alters_what_it_is_told_alters_it_for_nobody_else(
    train: Callable[..., Trainer],
) -> None:
    def log(self: Any, values: dict[str, Any], step: int) -> None:
        values.clear()

    other = make_fragile()
    trainer = train(greedy=make_fragile(log=log), other=other)
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert len(losses) == 6
    assert [values["train/loss"] for _, values in other.logged if "train/loss" in values] == losses


@pytest.mark.parametrize("where", ["open", "log", "close"])
def test_one_for_local_files_is_called_in_the_thread_that_trains_and_can_end_no_run_either(
    where: str, train: Callable[..., Trainer], caplog: pytest.LogCaptureFixture
) -> None:
    act: Act = fail_in(where)
    cls = make_fragile(act, is_immediate=True)
    train(shaky=cls)
    assert cls.threads == {threading.main_thread()}
    assert len(messages(caplog, f"'shaky' failed in `{where}`")) == 1


def test_a_second_training_begins_with_a_clean_sheet(
    quiet_weights: dict[str, torch.Tensor], caplog: pytest.LogCaptureFixture
) -> None:
    cls = make_fragile(
        fail_in("open", lambda time: time <= 2)
    )  # the server is down for the first training
    register("reporter", "shaky", cls)
    trainer = make_trainer(report_to="shaky")
    trainer.train()
    assert cls.calls == []
    trainer.train()
    assert cls.calls == [("open", 0), *logs_of(trainer), ("close", "finished")]

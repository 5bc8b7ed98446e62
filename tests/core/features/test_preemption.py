"""`preemption_signals`: what a signal does to a run, in the process that gets it."""

from __future__ import annotations

import errno
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from interrupted import history_of, prepare
from small import are_equal, make_args, make_trainer, weights_of

from drivetrain import Trainer, TrainerCallback, UsageError
from drivetrain.checkpoint.layout import list_checkpoints, step_of
from drivetrain.loop.interruption import PREEMPTED_EXIT_CODE, Preempted

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="it has no such signals"),
]

DEFAULTS = (signal.SIGTERM, signal.SIGUSR1)


class At(TrainerCallback):
    """Does something once, at an event after a number of updates.

    Args:
        event: The event.
        step: Updates that are done.
        act: What to do; by default it signals this process.
    """

    def __init__(self, event: str, step: int, act: Callable[[], Any] | None = None) -> None:
        self.step = step
        self.act = act or signal_self
        setattr(self, event, self.reach)

    def reach(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == self.step:
            self.step = -1
            self.act()


def signal_self() -> None:
    os.kill(os.getpid(), signal.SIGUSR1)


def handlers() -> list[Any]:
    return [signal.getsignal(number) for number in DEFAULTS]


def saved_in(folder: Path) -> list[int | None]:
    return [step_of(checkpoint) for checkpoint in list_checkpoints(folder)]


@pytest.fixture(autouse=True)
def ends_with_the_handlers_of_before() -> Iterator[None]:
    """No test leaves a handler behind; if one does, it is taken away."""
    before = handlers()
    yield
    after = handlers()
    for number, handler in zip(DEFAULTS, before, strict=True):
        signal.signal(number, handler)
    assert after == before


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("USR1,term", ["SIGUSR1", "SIGTERM"]),
        (["sigint", "SIGHUP"], ["SIGINT", "SIGHUP"]),
        ([signal.SIGXCPU, "USR2"], ["SIGXCPU", "SIGUSR2"]),
        (signal.SIGTERM, ["SIGTERM"]),
        ("none", []),
        (["none"], []),
        ([], []),
        (None, []),
        (False, []),
    ],
)
def test_signals_are_named_as_in_manuals_or_as_schedulers_do(given: Any, meant: list[str]) -> None:
    args = make_args(preemption_signals=given)
    assert args.preemption_signals == meant
    assert make_args(preemption_signals=args.preemption_signals).preemption_signals == meant


@pytest.mark.parametrize("given", ["KILL", ["SIGTERM", "none"], "SIGSEGV", 99, True])
def test_a_signal_that_cannot_be_left_at_is_refused(given: Any) -> None:
    with pytest.raises(
        UsageError, match="`preemption_signals`: .* is no signal to leave at. Allowed: 'SIGT"
    ):
        make_args(preemption_signals=given)


BY_STEPS = {"eval_strategy": "steps", "eval_steps": 4}
BY_EPOCH = {"eval_strategy": "epoch", "logging_strategy": "epoch"}


@pytest.mark.parametrize(
    ("event", "step", "saved", "settings"),
    [
        pytest.param("on_substep_end", 3, [4], {}, id="an update"),
        pytest.param("on_substep_end", 3, [4], {"async_save": True}, id="an update, saved by a thread"),
        pytest.param("on_step_end", 3, [4], {}, id="the end of an update"),
        pytest.param("on_substep_end", 5, [6], BY_EPOCH, id="the last update of an epoch"),
        pytest.param("on_log", 6, [6], {}, id="the log after the last update of an epoch"),
        pytest.param("on_epoch_end", 6, [7], {}, id="the end of an epoch"),
        pytest.param("on_epoch_begin", 6, [7], {}, id="the begin of an epoch"),
        pytest.param("on_prediction_step", 4, [4], BY_STEPS, id="an evaluation"),
        pytest.param("on_evaluate", 4, [5], BY_STEPS, id="the end of an evaluation"),
        pytest.param("on_prediction_step", 6, [6], BY_EPOCH, id="an evaluation at the end of an epoch"),
        pytest.param("on_prediction_step", 12, [12], BY_STEPS, id="the last evaluation"),
        pytest.param("on_prediction_step", 12, [12], BY_EPOCH, id="the evaluation of the last epoch"),
    ],
)
def test_a_run_that_gets_a_signal_in_the_midst_of(
    tmp_path: Path, event: str, step: int, saved: list[int], settings: dict[str, Any]
) -> None:
    """It saves and leaves, and when it is resumed it ends as if nothing had been."""
    with pytest.raises(Preempted) as caught:
        prepare(tmp_path / "left", At(event, step), **settings).train()
    assert caught.value.code == PREEMPTED_EXIT_CODE
    assert saved_in(tmp_path / "left") == saved
    resumed = prepare(tmp_path / "left", **settings)
    resumed.train(resume_from_checkpoint=True)
    whole = prepare(tmp_path / "whole", **settings)
    whole.train()
    assert history_of(resumed) == history_of(whole)
    assert are_equal(weights_of(resumed), weights_of(whole))


def test_the_handlers_are_there_in_training_and_what_was_there_before_is_put_back(
    tmp_path: Path,
) -> None:
    during: list[Any] = []
    trainer = make_trainer(
        output_dir=tmp_path, callbacks=[At("on_step_end", 1, lambda: during.extend(handlers()))]
    )
    trainer.train()
    assert signal.SIG_DFL not in during
    assert handlers() == [signal.SIG_DFL] * 2

    def fail() -> None:
        raise RuntimeError("broken on purpose")

    with pytest.raises(RuntimeError, match="broken on purpose"):
        make_trainer(output_dir=tmp_path, callbacks=[At("on_step_end", 1, fail)]).train()
    assert handlers() == [signal.SIG_DFL] * 2


def test_none_leaves_signals_as_they_are(tmp_path: Path) -> None:
    during: list[Any] = []
    note = At("on_step_end", 1, lambda: during.extend(handlers()))
    make_trainer(output_dir=tmp_path, preemption_signals="none", callbacks=[note]).train()
    assert during == [signal.SIG_DFL] * 2


@pytest.mark.parametrize("is_ignored", [False, True], ids=["handles", "ignores"])
def test_a_signal_that_the_program_handles_or_ignores_itself_is_left_to_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, is_ignored: bool
) -> None:
    heard: list[int] = []
    before = signal.signal(
        signal.SIGUSR1, signal.SIG_IGN if is_ignored else lambda number, frame: heard.append(number)
    )
    try:
        with caplog.at_level(logging.INFO):
            trainer = make_trainer(output_dir=tmp_path, callbacks=[At("on_step_begin", 2)])
            assert trainer.train().global_step == 6
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert heard == ([] if is_ignored else [signal.SIGUSR1])
    assert saved_in(tmp_path) == []
    how = "ignores" if is_ignored else "handles"
    assert f"The program {how} SIGUSR1 itself, which is left so." in caplog.messages


def test_a_handler_that_the_program_sets_while_it_trains_is_not_taken_away(tmp_path: Path) -> None:
    heard: list[int] = []
    trainer = make_trainer(
        output_dir=tmp_path,
        callbacks=[
            At("on_step_end", 1, lambda: signal.signal(signal.SIGUSR1, lambda *_: heard.append(1)))
        ],
    )
    trainer.train()
    signal_self()
    assert heard == [1]
    signal.signal(signal.SIGUSR1, signal.SIG_DFL)


def test_beside_the_main_thread_a_run_is_trained_without_handlers(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    during: list[Any] = []
    note = At("on_step_end", 1, lambda: during.extend(handlers()))
    trainer = make_trainer(output_dir=tmp_path, callbacks=[note])
    thread = threading.Thread(target=trainer.train)
    with caplog.at_level(logging.INFO):
        thread.start()
        thread.join()
    assert trainer.state.global_step == 6
    assert during == [signal.SIG_DFL] * 2
    said = [text for text in caplog.messages if "beside the main thread" in text]
    assert said == ["Training runs beside the main thread: SIGTERM, SIGUSR1 end it at once."]


@pytest.mark.parametrize("event", ["on_train_begin", "on_epoch_begin"])
def test_before_the_first_update_there_is_nothing_to_save(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, event: str
) -> None:
    trainer = make_trainer(output_dir=tmp_path, callbacks=[At(event, 0)])
    with pytest.raises(Preempted) as caught:
        trainer.train()
    assert caught.value.code == PREEMPTED_EXIT_CODE
    assert saved_in(tmp_path) == []
    assert caplog.messages[-1] == (
        "SIGUSR1: leaving after update 0 of 6, with exit code 75. There is no checkpoint: start again in the "
        "same way."
    )


def test_a_run_that_has_only_just_been_resumed_leaves_with_the_checkpoint_that_it_came_from(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_trainer(output_dir=tmp_path, save_strategy="steps", save_steps=4, max_steps=4).train()
    trainer = make_trainer(output_dir=tmp_path, callbacks=[At("on_epoch_begin", 4)])
    with pytest.raises(Preempted) as caught:
        trainer.train(resume_from_checkpoint=True)
    assert caught.value.code == PREEMPTED_EXIT_CODE
    assert saved_in(tmp_path) == [4]
    assert f"There is no newer checkpoint than {tmp_path / 'checkpoint-4'}." in caplog.messages[-1]


def test_an_evaluation_before_training_is_broken_off(tmp_path: Path) -> None:
    trainer = make_trainer(
        output_dir=tmp_path,
        eval_on_start=True,
        per_device_eval_batch_size=1,
        callbacks=[At("on_prediction_step", 0)],
    )
    with pytest.raises(Preempted):
        trainer.train()
    assert trainer.state.log_history == []


def test_an_evaluation_that_a_callback_asks_for_is_done_to_its_end(tmp_path: Path) -> None:
    metrics: list[Any] = []
    trainer = make_trainer(
        output_dir=tmp_path,
        callbacks=[
            At("on_prediction_step", 2),
            At("on_step_end", 2, lambda: metrics.append(trainer.evaluate())),
        ],
    )
    with pytest.raises(Preempted):
        trainer.train()
    assert "eval_loss" in metrics[0]
    assert saved_in(tmp_path) == [3]


def test_a_run_whose_last_update_is_done_is_finished(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trainer = make_trainer(output_dir=tmp_path, callbacks=[At("on_step_begin", 5)])
    assert trainer.train().global_step == 6
    assert saved_in(tmp_path) == []
    assert "SIGUSR1 came when training was all but done: it is finished." in caplog.messages


class FullDisk(Trainer):
    """The disk is full whenever the model is to be saved."""

    def save_model(self, output_dir: str | Path | None = None, _internal_call: bool = False) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_run_that_cannot_save_tries_once_more_and_leaves_with_another_exit_code(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trainer = make_trainer(
        FullDisk, output_dir=tmp_path, save_on_error="continue", callbacks=[At("on_step_begin", 1)]
    )
    with pytest.raises(Preempted) as caught:
        trainer.train()
    assert caught.value.code == 1
    assert caplog.messages[-1] == (
        "SIGUSR1: leaving after update 3 of 6, with exit code 1. There is no checkpoint: start again in the "
        "same way."
    )


def test_of_a_checkpoint_of_the_model_alone_it_is_said_how_to_go_on_from_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trainer = make_trainer(output_dir=tmp_path, save_only_model=True, callbacks=[At("on_step_begin", 1)])
    with pytest.raises(Preempted):
        trainer.train()
    assert caplog.messages[-1].endswith(
        f"The checkpoint is {tmp_path / 'checkpoint-2'}. To go on, start again with "
        "trainer.train(resume_from_checkpoint=True) and allow_partial_resume=True: it is of the model alone "
        "(`save_only_model`)."
    )


@pytest.mark.parametrize("step", [1, 5], ids=["left", "finished"])
def test_a_run_within_a_run_saves_and_the_outer_one_hears_of_the_signal(
    tmp_path: Path, step: int
) -> None:
    inner = make_trainer(output_dir=tmp_path / "inner", callbacks=[At("on_step_begin", step)])
    codes: list[Any] = []

    def train_inner() -> None:
        try:
            inner.train()
        except Preempted as left:
            codes.append(left.code)

    outer = make_trainer(output_dir=tmp_path / "outer", callbacks=[At("on_step_begin", 2, train_inner)])
    with pytest.raises(Preempted):
        outer.train()
    assert codes == ([PREEMPTED_EXIT_CODE] if step == 1 else [])
    assert saved_in(tmp_path / "inner") == ([2] if step == 1 else [])
    assert saved_in(tmp_path / "outer") == [3]


def test_a_trainer_that_was_left_once_can_be_left_again(tmp_path: Path) -> None:
    at = At("on_step_begin", 2)
    trainer = make_trainer(output_dir=tmp_path, callbacks=[at])
    with pytest.raises(Preempted):
        trainer.train()
    at.step = 4
    with pytest.raises(Preempted):
        trainer.train()
    assert saved_in(tmp_path) == [3, 5]


def test_a_process_leaves_if_another_one_got_a_signal(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trainer = make_trainer(output_dir=tmp_path, strategy="interrupted.ToldByAnother")
    with pytest.raises(Preempted) as caught:
        trainer.train()
    assert caught.value.code == PREEMPTED_EXIT_CODE
    assert caplog.messages[-1].startswith("A signal to another process: leaving after update 0 of 6")

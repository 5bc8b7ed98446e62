"""Callbacks that take up, in a resumed run, the state that a checkpoint has of them."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small import make_trainer

from drivetrain import (
    CallbackHandler,
    EarlyStoppingCallback,
    ExportableState,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
)
from drivetrain.callbacks.restoring import restore_callbacks
from drivetrain.state import is_exportable


class Worse(Trainer):
    """Each evaluation is worse than the one before."""

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        metrics = {"eval_loss": float(self.state.global_step)}
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics


class StopAtThree(TrainerCallback):
    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        control.should_training_stop = state.global_step == 3


class Counting(TrainerCallback, ExportableState):
    """Counts updates; one without an own setter refuses what it does not know."""

    def __init__(self, name: str, limit: int = 10) -> None:
        self.name = name
        self.limit = limit
        self.count = 0

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.count += 1

    @property
    def twice(self) -> int:
        return 2 * self.count

    def state(self) -> dict[str, Any]:
        return {"args": {"name": self.name, "limit": self.limit}, "attributes": {"count": self.count}}


def saved(name: str, count: int) -> dict[str, Any]:
    return {"args": {"name": name, "limit": 10}, "attributes": {"count": count}}


def state_with(**states: Any) -> TrainerState:
    return TrainerState(stateful_callbacks=states)


def stopping_trainer(folder: Path, *callbacks: TrainerCallback, **options: Any) -> Trainer:
    return make_trainer(
        Worse,
        output_dir=folder,
        callbacks=list(callbacks),
        num_train_epochs=3,
        eval_strategy="steps",
        eval_steps=1,
        save_strategy="steps",
        save_steps=1,
        metric_for_best_model="loss",
        load_best_model_at_end=True,
        **options,
    )


@pytest.mark.parametrize(("is_restored", "last_step"), [(True, 5), (False, 7)])
def test_early_stopping_goes_on_counting_in_a_resumed_run_if_states_are_restored(
    tmp_path: Path, is_restored: bool, last_step: int
) -> None:
    whole = stopping_trainer(tmp_path / "whole", EarlyStoppingCallback(4))
    assert whole.train().global_step == 5
    folder = tmp_path / "resumed"
    stopping_trainer(folder, EarlyStoppingCallback(4), StopAtThree()).train()
    resumed = stopping_trainer(
        folder, EarlyStoppingCallback(4), restore_callback_states_from_checkpoint=is_restored
    )
    assert resumed.train(resume_from_checkpoint=True).global_step == last_step


def test_what_was_saved_overrides_what_a_callback_was_made_with(tmp_path: Path) -> None:
    first = make_trainer(
        output_dir=tmp_path, callbacks=[Counting("a"), Counting("b", 5)], max_steps=2, save_steps=2,
        save_strategy="steps",
    )  # fmt: skip
    first.train()
    given = [Counting("c"), Counting("d")]
    second = make_trainer(
        output_dir=tmp_path,
        callbacks=given,
        max_steps=5,
        restore_callback_states_from_checkpoint=True,
    )
    second.train(resume_from_checkpoint=True)
    assert [(counting.name, counting.limit, counting.count) for counting in given] == [
        ("a", 10, 5),
        ("b", 5, 5),
    ]


def test_callbacks_stay_the_same_objects_in_the_same_order() -> None:
    callbacks = [Counting("a"), StopAtThree(), EarlyStoppingCallback(), Counting("b")]
    handler = CallbackHandler(callbacks)
    restore_callbacks(handler, state_with(Counting=[saved("x", 1), saved("y", 2)]))
    assert all(now is before for now, before in zip(handler.callbacks, callbacks, strict=True))
    assert [(c.name, c.count) for c in callbacks if isinstance(c, Counting)] == [("x", 1), ("y", 2)]


def test_callbacks_without_a_saved_state_are_left_as_they_are(caplog: pytest.LogCaptureFixture) -> None:
    given, early = [Counting("a"), Counting("b", 3)], EarlyStoppingCallback(7)
    with caplog.at_level(logging.WARNING):
        restore_callbacks(CallbackHandler([*given, early]), state_with(Counting=saved("x", 4)))
    assert [(c.name, c.limit, c.count) for c in given] == [("x", 10, 4), ("b", 3, 0)]
    assert early.early_stopping_patience == 7
    assert not caplog.records


def test_a_state_whose_callback_is_not_given_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    handler = CallbackHandler([Counting("a")])
    states = state_with(Counting=[saved("x", 1), saved("y", 2)], Pacing={"args": {}, "attributes": {}})
    restore_callbacks(handler, states)
    (warning,) = caplog.messages
    assert "not given: Counting, Pacing." in warning
    assert "Trainer(..., callbacks=[Counting(...), Pacing(...)])" in warning
    assert len(states.stateful_callbacks["Counting"]) == 2


def test_the_control_is_restored_and_never_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    control = TrainerControl(should_epoch_stop=True)
    restored = restore_callbacks(CallbackHandler([]), state_with(TrainerControl=control.state()))
    assert restored == control
    assert restore_callbacks(CallbackHandler([]), state_with()) is None
    assert not caplog.records


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ({"args": {"nmae": "a"}, "attributes": {}}, "TypeError: .*'nmae'"),
        ({"args": {"name": "a"}}, "KeyError: 'attributes'"),
        ({"args": {"name": "a"}, "attributes": {"twice": 2}}, "AttributeError: .*twice"),
        (17, "TypeError"),
    ],
)
def test_a_state_that_does_not_fit_its_class_is_an_error(state: Any, reason: str) -> None:
    handler = CallbackHandler([Counting("a")])
    with pytest.raises(ValueError, match=f"state of Counting .* does not fit the class: {reason}"):
        restore_callbacks(handler, state_with(Counting=state))


def test_a_state_for_a_class_that_takes_none_is_an_error() -> None:
    states = state_with(StopAtThree={"args": {}, "attributes": {}})
    with pytest.raises(ValueError, match="has no `from_state`.*Derive it from ExportableState"):
        restore_callbacks(CallbackHandler([StopAtThree()]), states)


class OfAnotherLibrary(TrainerCallback):
    """Has what an exportable state has, without deriving from ours."""

    def __init__(self, limit: int = 1) -> None:
        self.limit = limit
        self.seen: Any = ()

    def state(self) -> dict[str, Any]:
        return {"args": {"limit": self.limit}, "attributes": {"seen": self.seen}}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> OfAnotherLibrary:
        made = cls(**state["args"])
        made.seen = state["attributes"]["seen"]
        return made


class HasAStateOfAnotherSort(TrainerCallback):
    state = "on"


def test_what_can_do_the_same_is_as_exportable(tmp_path: Path) -> None:
    callback = OfAnotherLibrary(5)
    callback.seen = (torch.tensor(2), np.arange(2), np.float32(0.5))
    assert is_exportable(callback)
    assert is_exportable(TrainerControl())
    assert not is_exportable(HasAStateOfAnotherSort())
    options: dict[str, Any] = {"save_strategy": "steps", "save_steps": 2, "output_dir": tmp_path}
    make_trainer(callbacks=[callback, HasAStateOfAnotherSort()], max_steps=2, **options).train()
    other = OfAnotherLibrary()
    resumed = make_trainer(
        callbacks=[other], max_steps=3, restore_callback_states_from_checkpoint=True, **options
    )
    resumed.train(resume_from_checkpoint=True)
    assert (other.limit, other.seen) == (5, [2, [0, 1], 0.5])


def test_a_state_that_could_not_be_taken_up_again_is_an_error_that_names_it() -> None:
    callback = OfAnotherLibrary()
    callback.seen = [Path("somewhere")]
    with pytest.raises(
        ValueError, match=r"`OfAnotherLibrary.state\(\)` has a \w+Path in it.*`from_state`"
    ):
        TrainerState().collect_states([callback])

"""Who is called at an event: looked up once, and again whenever it may have changed."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from small import make_samples, make_trainer

from drivetrain import Trainer, TrainerCallback, register
from drivetrain.callbacks import CallbackHandler
from drivetrain.plugin import Plugin, hookimpl


class CountsSteps(TrainerCallback):
    """Counts the steps of the optimizer."""

    def __init__(self) -> None:
        self.num_steps = 0

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.num_steps += 1


class ChangesTheList(TrainerCallback):
    """Puts another callback into the handler's list itself, and takes it out: as notebooks do."""

    def __init__(self, other: TrainerCallback) -> None:
        self.other = other
        self.trainer: Trainer

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        callbacks = self.trainer.callback_handler.callbacks
        if state.global_step == 2:
            callbacks.append(self.other)
        if state.global_step == 4:
            callbacks.remove(self.other)


def test_callbacks_are_not_called_for_an_event_that_none_of_them_hears(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    called: list[str] = []
    call_event = CallbackHandler.call_event

    def note(self: CallbackHandler, event: str, *args: Any, **kwargs: Any) -> Any:
        called.append(event)
        return call_event(self, event, *args, **kwargs)

    monkeypatch.setattr(CallbackHandler, "call_event", note)
    trainer = make_trainer(max_steps=2)
    trainer.train()
    assert called.count("on_step_begin") == 2  # which sets switches back
    assert "on_optimizer_step" not in called
    trainer.add_callback(CountsSteps)
    trainer.train()
    assert called.count("on_optimizer_step") == 2


def test_a_callback_that_is_put_into_the_list_in_mid_run_is_heard_from_then_on() -> None:
    counting = CountsSteps()
    changing = ChangesTheList(counting)
    trainer = make_trainer(callbacks=[changing], max_steps=6)
    changing.trainer = trainer
    trainer.train()
    assert counting.num_steps == 2


def test_another_handler_in_the_place_of_the_first_is_heard() -> None:
    counting = CountsSteps()
    trainer = make_trainer(max_steps=3)
    trainer.callback_handler = CallbackHandler([*trainer.callback_handler.callbacks, counting])
    trainer.train()
    assert counting.num_steps == 3


@pytest.mark.parametrize(
    "change",
    [
        lambda callbacks, new: callbacks.insert(0, new),
        lambda callbacks, new: callbacks.extend([new]),
        lambda callbacks, new: callbacks.__setitem__(slice(0, 0), [new]),
        lambda callbacks, new: callbacks.__iadd__([new]),
    ],
    ids=["insert", "extend", "assign", "add"],
)
def test_however_the_list_is_changed_the_handler_knows(change: Callable[..., Any]) -> None:
    counting = CountsSteps()
    trainer = make_trainer(max_steps=2)
    trainer.train()
    change(trainer.callback_handler.callbacks, counting)
    trainer.train()
    assert counting.num_steps == 2
    others = [c for c in trainer.callback_handler.callbacks if c is not counting]
    trainer.callback_handler.callbacks = others
    trainer.train()
    assert counting.num_steps == 2


def test_a_parameter_with_a_default_is_passed_like_any_other() -> None:
    seen: list[Any] = []

    class Optional(Plugin):
        @hookimpl
        def on_step_end(self, trainer: Any, state: Any = None, unknown: int = 3) -> None:
            seen.append((trainer.state is state, unknown))

    register("plugin", "optional", Optional)
    make_trainer(plugins=["optional"], max_steps=2).train()
    assert seen == [(True, 3)] * 2


def test_handlers_that_share_a_list_both_know_of_changes() -> None:
    first, counting = CallbackHandler([]), CountsSteps()
    second = copy.copy(first)
    third = CallbackHandler([])
    third.callbacks = first.callbacks
    for handler in (first, second, third):
        handler.on_optimizer_step(None, None, None)
    first.add_callback(counting)
    for handler in (first, second, third):
        handler.on_optimizer_step(None, None, None)
    assert counting.num_steps == 3


def test_a_handler_is_pickled_with_its_callbacks() -> None:
    handler = pickle.loads(pickle.dumps(CallbackHandler([CountsSteps()])))
    handler.on_optimizer_step(None, None, None)
    handler.callbacks.append(CountsSteps())
    handler.on_optimizer_step(None, None, None)
    assert [callback.num_steps for callback in handler.callbacks] == [2, 1]


def test_a_subclass_that_overrides_emit_is_told_of_every_event() -> None:
    told: list[str] = []

    class Tells(Trainer):
        def emit(self, event: str, **details: Any) -> None:
            told.append(event)
            super().emit(event, **details)

    make_trainer(Tells, max_steps=2).train()
    for event in ("on_train_begin", "on_epoch_begin", "on_train_end"):
        assert told.count(event) == 1
    for event in ("on_step_begin", "on_pre_optimizer_step", "on_optimizer_step", "on_step_end"):
        assert told.count(event) == 2


class Slim:
    """A control of somebody's own, one switch of which is a property."""

    __slots__ = ("_evaluate", "should_epoch_stop", "should_log", "should_save", "should_training_stop")

    def __init__(self) -> None:
        self._evaluate = self.should_epoch_stop = self.should_log = False
        self.should_save = self.should_training_stop = False

    @property
    def should_evaluate(self) -> bool:
        return self._evaluate

    @should_evaluate.setter
    def should_evaluate(self, value: bool) -> None:
        self._evaluate = value


def test_the_switches_of_another_control_are_set_back_too() -> None:
    class Replaces(TrainerCallback):
        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
            return Slim() if state.global_step == 0 else None

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            control.should_evaluate = state.global_step == 2
            control.should_training_stop = state.global_step == 5

    trainer = make_trainer(callbacks=[Replaces()], eval_dataset=make_samples(), max_steps=6)
    trainer.train()
    assert [entry["step"] for entry in trainer.state.log_history if "eval_loss" in entry] == [2]


class Empty(Plugin):
    """A part that is falsy, as one with a length may be."""

    num_steps = 0

    def __len__(self) -> int:
        return 0

    @hookimpl
    def on_step_end(self) -> None:
        self.num_steps += 1


def test_a_part_that_is_falsy_listens_in_every_run() -> None:
    register("plugin", "empty", Empty)
    trainer = make_trainer(plugins=["empty"], max_steps=2)
    trainer.train()
    trainer.train()
    assert next(part for part in trainer.hooks.parts if isinstance(part, Empty)).num_steps == 4


def test_that_holds_for_what_is_altered_and_for_what_is_called_one_by_one() -> None:
    seen: list[str] = []

    class Optional(Plugin):
        @hookimpl
        def alter_loss(self, loss: Any, outputs: Any = None) -> None:
            seen.append("outputs" if outputs is not None else "nothing")

        @hookimpl
        def on_run_end(self, outcome: str = "nobody said") -> None:
            seen.append(outcome)

    register("plugin", "optional_too", Optional)
    make_trainer(plugins=["optional_too"], max_steps=1).train()
    assert seen == ["outputs", "finished"]

"""The callbacks of a run as one ordered handler, and that handler as one listener of the hooks."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from drivetrain.callbacks.callback import EVENTS, TrainerCallback
from drivetrain.hookspecs import hookimpl
from drivetrain.plugin.part import Plugin
from drivetrain.state import TrainerControl
from drivetrain_registry import UsageError

if TYPE_CHECKING:
    from drivetrain.arguments import TrainingArguments
    from drivetrain.state import TrainerState
    from drivetrain.trainer import Trainer

logger = logging.getLogger(__name__)

_RESET_BEFORE = {
    "on_train_begin": ("should_training_stop",),
    "on_epoch_begin": ("should_epoch_stop",),
    "on_step_begin": ("should_log", "should_evaluate", "should_save"),
    "on_evaluate": ("should_evaluate",),
    "on_save": ("should_save",),
    "on_log": ("should_log",),
}
"""The switches that an event sets back before its callbacks are called."""

Callback = TrainerCallback | type[TrainerCallback]


class CallbackHandler(TrainerCallback):
    """Calls callbacks in the order in which they were given, each with what the one before decided.

    Each event is a method that takes ``args``, ``state`` and ``control`` and returns the control.
    """

    def __init__(
        self,
        callbacks: Iterable[Callback],
        model: Any = None,
        processing_class: Any = None,
        optimizer: Any = None,
        lr_scheduler: Any = None,
    ) -> None:
        self.callbacks = []
        self._listeners: dict[str, list[Callable[..., Any]]] = {}
        self._listeners_at: object = None
        self.model = model
        self.processing_class = processing_class
        self.optimizer = optimizer
        self.lr_scheduler = lr_scheduler
        self.train_dataloader: Any = None
        self.eval_dataloader: Any = None
        self._is_made = False  # several of a class are said only if one is added later
        for callback in callbacks:
            self.add_callback(callback)
        self._is_made = True

    @property
    def callbacks(self) -> list[TrainerCallback]:
        """The callbacks, in the order in which they are called.

        The list may be changed. Of another one that is put in its place the handler keeps a copy, unless it
        is that of a handler.
        """
        return self._callbacks

    @callbacks.setter
    def callbacks(self, callbacks: Iterable[TrainerCallback]) -> None:
        self._callbacks = callbacks if isinstance(callbacks, WatchedList) else WatchedList(callbacks)

    @property
    def change(self) -> object:
        """Another object once the callbacks have changed."""
        return self._callbacks.change

    @property
    def callback_list(self) -> str:
        """The class names of the callbacks, a line each."""
        return "\n".join(type(callback).__name__ for callback in self.callbacks)

    def add_callback(self, callback: Callback) -> None:
        """Append a callback, given as an instance or as a class to make one of."""
        instance = callback() if isinstance(callback, type) else callback
        if isinstance(instance, Plugin):
            raise UsageError(
                f"`callbacks`: {type(instance).__name__} is a plugin and no callback. Name it in an "
                'argument, such as plugins=["package.module.Name"].'
            )
        if self._is_made and any(type(known) is type(instance) for known in self.callbacks):
            logger.warning(
                "A %s is added to a trainer that has one already. Its callbacks are now: %s.",
                type(instance).__name__,
                ", ".join(self.callback_list.split("\n")),
            )
        self.callbacks.append(instance)

    def pop_callback(self, callback: Callback) -> TrainerCallback | None:
        """Remove and return a callback, or the first of a class; None if there is none."""
        for known in self.callbacks:
            if known is callback or (isinstance(callback, type) and isinstance(known, callback)):
                self.callbacks.remove(known)
                return known
        return None

    def remove_callback(self, callback: Callback) -> None:
        """Remove a callback, or the first of a class."""
        self.pop_callback(callback)

    def is_heard(self, event: str) -> bool:
        """Whether any callback does something at an event, or the event sets a switch back."""
        return event in _RESET_BEFORE or bool(self._listeners_of(event))

    def call_event(
        self,
        event: str,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> TrainerControl:
        """Call one event of every callback; return the control as they leave it."""
        for switch in _RESET_BEFORE.get(event, ()):
            setattr(control, switch, False)
        for listener in self._listeners_of(event):
            result = listener(
                args,
                state,
                control,
                model=self.model,
                processing_class=self.processing_class,
                optimizer=self.optimizer,
                lr_scheduler=self.lr_scheduler,
                train_dataloader=self.train_dataloader,
                eval_dataloader=self.eval_dataloader,
                **kwargs,
            )
            if isinstance(result, dict):
                control.update(result, f"{getattr(listener, '__qualname__', listener)}")
            elif result is not None:
                control = result
        return control

    def _listeners_of(self, event: str) -> list[Callable[..., Any]]:
        """Methods of the callbacks that do something at an event: made once, for it is asked at each step."""
        if self._listeners_at is not self._callbacks.change:
            self._listeners, self._listeners_at = {}, self._callbacks.change
        if event not in self._listeners:
            methods = [
                getattr(callback, event) for callback in self.callbacks if hasattr(callback, event)
            ]
            nothing = getattr(TrainerCallback, event)
            self._listeners[event] = [method for method in methods if _does_something(method, nothing)]
        return self._listeners[event]


class WatchedList(list[Any]):
    """A list that tells whether it was changed: `change` is another object after each change."""

    def __init__(self, members: Iterable[Any] = ()) -> None:
        super().__init__(members)
        self.change = object()


def _watched(name: str) -> Callable[..., Any]:
    method = getattr(list, name)

    @functools.wraps(method)
    def changed(self: WatchedList, *arguments: Any, **keywords: Any) -> Any:
        self.change = object()
        return method(self, *arguments, **keywords)

    return changed


for _name in ("append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort"):
    setattr(WatchedList, _name, _watched(_name))
for _name in ("__delitem__", "__iadd__", "__imul__", "__setitem__"):
    setattr(WatchedList, _name, _watched(_name))


def _does_something(method: Any, nothing: Any) -> bool:
    """Whether to call a method: not the empty one of the base class, nor one that is called as a hook."""
    return getattr(method, "__func__", None) is not nothing and not hasattr(method, "drivetrain_impl")


def _handler_event(event: str) -> Callable[..., TrainerControl]:
    def call(
        self: CallbackHandler,
        args: Any,
        state: Any,
        control: TrainerControl,
        *details: Any,
        **kwargs: Any,
    ) -> TrainerControl:
        named = dict(zip(_DETAILS.get(event, ()), details, strict=False))
        return self.call_event(event, args, state, control, **named, **kwargs)

    call.__name__ = event
    call.__doc__ = f"Call `{event}` of every callback, and return the control."
    return call


_DETAILS = {"on_evaluate": ("metrics",), "on_predict": ("metrics",), "on_log": ("logs",)}

for _event in EVENTS:
    setattr(CallbackHandler, _event, _handler_event(_event))


class CallbackListener:
    """The handler as a listener of the run's hooks: what its callbacks decide becomes the run's control."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer


def _call(event: str, trainer: Trainer, **details: Any) -> TrainerControl:
    handler = trainer.callback_handler
    return handler.call_event(event, trainer.args, trainer.state, trainer.control, **details)


def _listener_hook(event: str) -> Callable[..., None]:
    # pluggy passes on what the parameters' names ask for, so the three shapes are written out.
    if event == "on_log":

        def hook(self: CallbackListener, logs: Any) -> None:
            self.trainer.control = _call(event, self.trainer, logs=logs)

    elif event in _DETAILS:

        def hook(self: CallbackListener, metrics: Any) -> None:  # type: ignore[misc]
            self.trainer.control = _call(event, self.trainer, metrics=metrics)

    else:

        def hook(self: CallbackListener) -> None:  # type: ignore[misc]
            self.trainer.control = _call(event, self.trainer)

    hook.__name__ = event
    return hookimpl(hook)


for _event in EVENTS:
    setattr(CallbackListener, _event, _listener_hook(_event))

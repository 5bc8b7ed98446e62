"""The hook manager of one run: its parts, then its callbacks, in the order in which they were given."""

from __future__ import annotations

import difflib
import inspect
import logging
from collections.abc import Callable
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import pluggy

from drivetrain import hookspecs
from drivetrain.callbacks.callback import EVENTS
from drivetrain.callbacks.handler import CallbackListener
from drivetrain.hook_manager import HookManager
from drivetrain_registry import UsageError

if TYPE_CHECKING:
    from drivetrain.trainer import Trainer


logger = logging.getLogger(__name__)

Known = dict[str, Any]
"""A hook's parameters, by name."""

Listener = Callable[[Known], Any]
"""Calls an implementation with those of the parameters that it takes."""


class Hooks:
    """Who listens to a run, and the calls to them.

    pluggy knows and checks who implements what. The calls at each update do not go through it: who is
    called at an event is looked up once, and again when parts or callbacks have changed
    (`benchmarks/loop.py`).

    Attributes:
        heard: The hooks that a part implements. Callbacks hear published events besides.
    """

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self._callbacks = CallbackListener(trainer)
        self._parts: list[object] = []
        self._manager = HookManager()
        self._callers = {
            name: getattr(self._manager.hook, name) for name in vars(hookspecs) if self._has_spec(name)
        }
        self._listeners: dict[str, tuple[Listener, ...]] = {}
        self._known_callbacks: object = None
        self.heard: frozenset[str] = frozenset()

    @property
    def parts(self) -> tuple[object, ...]:
        """The parts that listen, in the order in which they are called; callbacks come after them."""
        return tuple(self._parts)

    def listen(self, *parts: object) -> None:
        """Make these the parts that listen, in this order.

        Raises:
            UsageError: A part marks a method as a hook that there is not, or takes a parameter that
                the hook does not have.
        """
        self._parts = list(dict.fromkeys(parts))
        self._manager.clear()
        # pluggy calls the last registered first.
        for listener in (self._callbacks, *reversed(self._parts)):
            self._register(listener)
        try:
            self._manager.check_pending()
        except pluggy.PluginValidationError as error:
            raise UsageError(_explain_unknown_hook(error)) from error
        self._listeners = {}
        self.heard = frozenset(name for name in self._callers if self._implementations(name))

    def emit(self, event: str, **details: Any) -> None:
        """Tell every listener of an event; nothing is called where nobody listens."""
        trainer = self._trainer
        if trainer.callback_handler.change is not self._known_callbacks:
            self._listeners, self._known_callbacks = {}, trainer.callback_handler.change
        listeners = self._listeners.get(event)
        if listeners is None:
            listeners = self._listeners[event] = self._find_listeners(event)
        if not listeners:
            return
        known: Known = {
            "trainer": trainer,
            "args": trainer.args,
            "state": trainer.state,
            "control": trainer.control,
            **details,
        }
        for listener in listeners:
            listener(known)

    def call(self, hook: str, **details: Any) -> None:
        """Call a hook that is no published event."""
        if hook not in self._listeners:
            self._listeners[hook] = self._find_listeners(hook)
        known: Known = {"trainer": self._trainer, **details}
        for listener in self._listeners[hook]:
            listener(known)

    def call_each(self, hook: str, **details: Any) -> None:
        """Call every implementation of a hook, each even if one before it raised.

        Raises:
            Exception: What the first of them raised that did, if no other error is under way; the others
                are logged.
        """
        known = {"trainer": self._trainer, **details}
        errors: list[Exception] = []
        for implementation in reversed(self._callers[hook].get_hookimpls()):
            try:
                _listener(implementation)(known)
            except Exception as error:
                errors.append(error)
                owner = type(implementation.plugin).__name__
                logger.error(
                    "%s.%s raised; the others are called all the same.", owner, hook, exc_info=error
                )
        if errors and details.get("error") is None:
            raise errors[0]

    def alter(self, hook: str, name: str, **details: Any) -> Any:
        """Pass a value through every implementation of an ``alter_...`` hook, and return what comes out.

        Args:
            hook: The hook.
            name: The parameter whose value is altered; it is among ``details``.
            details: The hook's parameters besides ``trainer``.
        """
        value = details[name]
        if hook not in self.heard:
            return value
        for implementation in reversed(self._callers[hook].get_hookimpls()):
            known = {"trainer": self._trainer, **details, name: value}
            result = _listener(implementation)(known)
            value = value if result is None else result
        return value

    def is_heard(self, hook: str) -> bool:
        """Whether any part implements a hook."""
        return hook in self.heard

    def _implementations(self, hook: str) -> list[pluggy.HookImpl]:
        """Those of the parts, in the order in which they are called."""
        found = reversed(self._callers[hook].get_hookimpls())
        return [
            implementation for implementation in found if implementation.plugin is not self._callbacks
        ]

    def _find_listeners(self, event: str) -> tuple[Listener, ...]:
        """What to call at an event or for a hook, in that order."""
        caller = self._callers[event]
        if any(
            implementation.wrapper or implementation.hookwrapper
            for implementation in caller.get_hookimpls()
        ):
            return (lambda known: caller(**known),)  # which knows what is around what
        implementations = list(reversed(caller.get_hookimpls()))
        if event not in EVENTS or not self._trainer.callback_handler.is_heard(event):
            implementations = self._implementations(event)
        return tuple(map(_listener, implementations))

    def _has_spec(self, name: str) -> bool:
        caller = getattr(self._manager.hook, name, None)
        return isinstance(caller, pluggy.HookCaller) and caller.has_spec()

    def _register(self, listener: object) -> None:
        try:
            self._manager.register(listener)
            _refuse_wrappers(self._manager, listener)
        except pluggy.PluginValidationError as error:
            raise UsageError(
                f"{type(listener).__name__} does not fit the hooks of drivetrain: {error}"
            ) from error


def _listener(implementation: pluggy.HookImpl) -> Listener:
    """Calls an implementation with the parameters that it names; those with a default by keyword."""
    function, names = implementation.function, implementation.argnames
    if implementation.kwargnames:
        optional = implementation.kwargnames
        return lambda known: function(
            *(known[name] for name in names), **{name: known[name] for name in optional if name in known}
        )
    if not names:
        return lambda known: function()
    choose = itemgetter(*names)
    if len(names) == 1:
        return lambda known: function(choose(known))
    return lambda known: function(*choose(known))


def _refuse_wrappers(manager: pluggy.PluginManager, listener: object) -> None:
    """Implementations of ``alter_...`` hooks are called one after the other: none is around another."""
    for caller in manager.get_hookcallers(listener) or []:
        for implementation in caller.get_hookimpls():
            is_wrapper = implementation.wrapper or implementation.hookwrapper
            if is_wrapper and implementation.plugin is listener and _is_called_one_by_one(caller.name):
                raise UsageError(
                    f"{type(listener).__name__}.{caller.name} is marked as a wrapper. Leave that out: an "
                    "`alter_...` hook gets what the one before it returned, and returns the altered value."
                )


def _is_called_one_by_one(hook: str) -> bool:
    return hook.startswith("alter_") or hook in ("on_run_end", "on_stage_failed", "on_evaluation_end")


def implements_hooks(thing: object) -> bool:
    """Whether the class of something has a method marked with `hookimpl`."""
    names = dir(type(thing))
    return any(
        hasattr(inspect.getattr_static(type(thing), name, None), "drivetrain_impl") for name in names
    )


def _explain_unknown_hook(error: pluggy.PluginValidationError) -> str:
    plugin = getattr(error, "plugin", None)
    known = [name for name in vars(hookspecs) if name.startswith(("on_", "alter_", "write_", "read_"))]
    marked = [name for name in dir(plugin) if hasattr(getattr(plugin, name, None), "drivetrain_impl")]
    unknown = [name for name in marked if name not in known]
    hints = [
        f"{name!r}" + (f" (did you mean {near[0]!r}?)" if near else "")
        for name in unknown
        for near in [difflib.get_close_matches(name, known, n=1)]
    ]
    return (
        f"{type(plugin).__name__} implements {' and '.join(hints) or error}, and there is no such hook. "
        f"Hooks: {', '.join(known)}."
    )

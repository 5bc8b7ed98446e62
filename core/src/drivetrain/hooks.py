"""The hook manager of one run: its parts, then its callbacks, in the order in which they were given."""

from __future__ import annotations

import difflib
import inspect
import logging
from typing import TYPE_CHECKING, Any

import pluggy

from drivetrain import hookspecs
from drivetrain.callbacks.handler import CallbackListener
from drivetrain_registry import UsageError

if TYPE_CHECKING:
    from drivetrain.trainer import Trainer


logger = logging.getLogger(__name__)


class Hooks:
    """Who listens to a run, and the calls to them."""

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self._callbacks = CallbackListener(trainer)
        self._parts: list[object] = []
        self._manager = pluggy.PluginManager("drivetrain")
        self.listen()

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
        self._manager = pluggy.PluginManager("drivetrain")
        self._manager.add_hookspecs(hookspecs)
        # pluggy calls the last registered first.
        for listener in (self._callbacks, *reversed(self._parts)):
            self._register(listener)
        try:
            self._manager.check_pending()
        except pluggy.PluginValidationError as error:
            raise UsageError(_explain_unknown_hook(error)) from error
        self._callers = {
            name: getattr(self._manager.hook, name) for name in vars(hookspecs) if self._has_spec(name)
        }

    def emit(self, event: str, **details: Any) -> None:
        """Tell every listener of an event; nothing is called where nobody listens."""
        if not self._is_heard_event(event):
            return
        trainer = self._trainer
        self._callers[event](
            trainer=trainer, args=trainer.args, state=trainer.state, control=trainer.control, **details
        )

    def call(self, hook: str, **details: Any) -> None:
        """Call a hook that is no published event."""
        self._callers[hook](trainer=self._trainer, **details)

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
                implementation.function(*(known[argument] for argument in implementation.argnames))
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
        for implementation in reversed(self._callers[hook].get_hookimpls()):
            known = {"trainer": self._trainer, **details, name: value}
            result = implementation.function(*(known[argument] for argument in implementation.argnames))
            value = value if result is None else result
        return value

    def is_heard(self, hook: str) -> bool:
        """Whether any part implements a hook that is no published event."""
        return bool(self._callers[hook].get_hookimpls())

    def _is_heard_event(self, event: str) -> bool:
        if self._trainer.callback_handler.is_heard(event):
            return True
        return len(self._callers[event].get_hookimpls()) > 1  # the first is that of the callbacks

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

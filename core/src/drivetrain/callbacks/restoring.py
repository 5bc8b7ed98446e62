"""Callbacks take up the state that a checkpoint has of them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from drivetrain.state import TrainerControl
from drivetrain_registry import UsageError

if TYPE_CHECKING:
    from drivetrain.callbacks.handler import CallbackHandler
    from drivetrain.state import TrainerState

logger = logging.getLogger(__name__)

_OPTION = "`restore_callback_states_from_checkpoint`"


def restore_callbacks(handler: CallbackHandler, state: TrainerState) -> TrainerControl | None:
    """Give the callbacks the states that were saved, by class; several of a class in their order.

    What was saved overrides what a callback was made with. The callback stays the same object at the
    same place. One of whose class there is no state, or not as many, is left as it is. A state without
    a callback is warned of.

    Returns:
        The control that was saved, if one was.

    Raises:
        UsageError: A state does not fit the class of its name.
    """
    saved = {name: _as_list(states) for name, states in state.stateful_callbacks.items()}
    controls = saved.pop(TrainerControl.__name__, [])
    for callback in handler.callbacks:
        states = saved.get(type(callback).__name__)
        if states:
            vars(callback).update(vars(_make(type(callback), states.pop(0))))
    _warn_of([name for name, states in saved.items() for _ in states])
    return _make(TrainerControl, controls[0]) if controls else None


def _as_list(states: Any) -> list[Any]:
    return list(states) if isinstance(states, list) else [states]


def _make(cls: type, state: Any) -> Any:
    if not hasattr(cls, "from_state"):
        raise UsageError(
            f"{_OPTION}: the checkpoint has a state of {cls.__name__}, and the class {cls.__qualname__} of "
            f"{cls.__module__} has no `from_state` to take it up. Derive it from ExportableState."
        )
    try:
        return cls.from_state(state)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UsageError(
            f"{_OPTION}: the state of {cls.__name__} in the checkpoint does not fit the class: "
            f"{type(error).__name__}: {error}. Resume with the class as it was when the state was saved, "
            "or type restore_callback_states_from_checkpoint=False."
        ) from error


def _warn_of(names: list[str]) -> None:
    if names:
        logger.warning(
            "%s: the checkpoint has states of callbacks that the trainer was not given: %s. "
            "To go on with them, type Trainer(..., callbacks=[%s]).",
            _OPTION,
            ", ".join(names),
            ", ".join(f"{name}(...)" for name in names),
        )

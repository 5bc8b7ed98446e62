"""State that a checkpoint can hold: tensors, numbers, texts and containers that load without unpickling."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import Any

from torch.optim import Optimizer

_QUEUE, _LENGTH = "queue", "maxlen"


class PlainState(Optimizer):
    """Mixed in before an optimizer that keeps queues or enums in its state or its groups."""

    def state_dict(self) -> dict[str, Any]:
        """The same with dicts in place of queues, and values in place of enums."""
        plain: dict[str, Any] = _convert(super().state_dict(), _make_plain)
        return plain

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up what `state_dict` gave."""
        super().load_state_dict(_convert(state_dict, _restore))


def _convert(value: Any, convert: Callable[[Any], Any]) -> Any:
    value = convert(value)
    if type(value) is dict:
        return {key: _convert(item, convert) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_convert(item, convert) for item in value)
    return value


def _make_plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    return {_QUEUE: list(value), _LENGTH: value.maxlen} if isinstance(value, deque) else value


def _restore(value: Any) -> Any:
    is_queue = type(value) is dict and value.keys() == {_QUEUE, _LENGTH}
    return deque(value[_QUEUE], value[_LENGTH]) if is_queue else value

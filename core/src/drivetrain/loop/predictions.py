"""What an evaluation keeps of each batch, put together as it comes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import numpy as np
import torch

from drivetrain.loop.growing import GrowingArray
from drivetrain_registry import UsageError

PADDING = -100
"""What rows are filled up with where batches differ in their second dimension."""


class PredictionStore:
    """Collects what batches give: tensors of shape (batch, ...), nested in any way.

    Args:
        move_every: Batches after which what is on a device goes to host memory; None: at the end.
        padding: What rows are filled up with where batches differ in their second dimension.
        concatenates: Put the batches together; else they are members of a list.
        num_batches: How many batches will come, so that memory is made for them at once; None if that is
            not known.
    """

    def __init__(
        self,
        move_every: int | None = None,
        padding: int = PADDING,
        concatenates: bool = True,
        num_batches: int | None = None,
    ) -> None:
        self._move_every = move_every
        self._padding = padding
        self._num_batches = num_batches
        self._waiting: deque[Any] = deque()
        self._collected: _Collector | None = None if concatenates else _Objects()

    def add(self, value: Any) -> None:
        """Keep the value of a batch. What is in host memory already does not wait."""
        if _is_on_device(value):
            self._waiting.append(value)
            if self._move_every is not None and len(self._waiting) >= self._move_every:
                self._move()
        else:
            if self._waiting:
                self._move()
            self._collect(value)

    def result(self) -> Any:
        """All batches: arrays of shape (samples, ...), nested as they were; None without batches.

        A scalar of each batch gives an array of shape (batches,). What is no tensor is a member of a
        list with one for each batch. Called once, at the end.
        """
        self._move()
        return None if self._collected is None else self._collected.result()

    def _move(self) -> None:
        while self._waiting:
            self._collect(self._waiting.popleft())

    def _collect(self, value: Any) -> None:
        if self._collected is None:
            self._collected = _make_collector(value, self._padding, self._num_batches)
        self._collected.add(value)


class _Collector(Protocol):
    """Takes one thing of each batch."""

    def add(self, value: Any) -> None: ...

    def result(self) -> Any: ...


class _Arrays:
    """Collects tensors into one array."""

    def __init__(self, padding: int, num_batches: int | None) -> None:
        self._array = GrowingArray(padding, num_batches)

    def add(self, value: Any) -> None:
        if not _is_array(value):
            raise UsageError(_explain_nesting("a tensor", type(value).__name__))
        self._array.add(_to_numpy(value))

    def result(self) -> Any:
        return self._array.finish()


class _Members:
    """Collects the members of dicts, tuples or lists, each on its own."""

    def __init__(self, first: Any, padding: int, num_batches: int | None) -> None:
        self._type = type(first)
        self._members = {key: _make_collector(item, padding, num_batches) for key, item in _items(first)}

    def add(self, value: Any) -> None:
        items = dict(_items(value)) if isinstance(value, (Mapping, list, tuple)) else {}
        if items.keys() != self._members.keys():
            raise UsageError(_explain_nesting(_show(self._members), _show(items)))
        for key, member in self._members.items():
            member.add(items[key])

    def result(self) -> Any:
        results = {key: member.result() for key, member in self._members.items()}
        return results if issubclass(self._type, Mapping) else _rebuild(self._type, results.values())


class _Objects:
    """Collects anything into a list."""

    def __init__(self) -> None:
        self._list: list[Any] = []

    def add(self, value: Any) -> None:
        self._list.append(_to_numpy(value))

    def result(self) -> Any:
        return None if all(item is None for item in self._list) else self._list


def _make_collector(value: Any, padding: int, num_batches: int | None) -> _Collector:
    if _is_array(value):
        return _Arrays(padding, num_batches)
    if isinstance(value, (Mapping, list, tuple)) and any(True for _ in _arrays_in(value)):
        return _Members(value, padding, num_batches)
    return _Objects()


def _is_array(value: Any) -> bool:
    return isinstance(value, (torch.Tensor, np.ndarray, np.generic))


def _is_on_device(value: Any) -> bool:
    if isinstance(value, torch.Tensor):
        return not value.is_cpu
    return any(isinstance(array, torch.Tensor) and not array.is_cpu for array in _arrays_in(value))


def _arrays_in(value: Any) -> Iterable[Any]:
    if _is_array(value):
        yield value
    elif isinstance(value, (Mapping, list, tuple)):
        for _, item in _items(value):
            yield from _arrays_in(item)


def _items(value: Any) -> Iterable[tuple[Any, Any]]:
    return value.items() if isinstance(value, Mapping) else enumerate(value)


def _rebuild(cls: type[Any], members: Iterable[Any]) -> Any:
    """A list or tuple as it was; a named tuple takes its members one by one."""
    return cls(*members) if hasattr(cls, "_fields") else cls(members)


def _to_numpy(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        try:
            return value.numpy(force=True)
        except TypeError:  # bfloat16 and 8-bit floats, which NumPy does not have
            return value.float().numpy(force=True)
    if isinstance(value, Mapping):
        return {key: _to_numpy(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return _rebuild(type(value), [_to_numpy(item) for item in value])
    return value


def _show(members: Mapping[Any, Any]) -> str:
    return ", ".join(map(str, members)) or "no members"


def _explain_nesting(one: str, other: str) -> str:
    return (
        f"`eval_do_concat_batches`: outputs are nested differently in two batches ({one}; {other}), and "
        "cannot be put together. Type eval_do_concat_batches=False, or leave some out with `ignore_keys`."
    )

"""Nested states as a flat list of tensors and plain values: to compare them, and to count their bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch.optim import Optimizer


def leaves_of(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every tensor and plain value in nested containers, with the way to it.

    A tensor that is made of others (as quantized ones are) gives those.
    """
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from leaves_of(item, f"{path}[{key!r}]")
    elif isinstance(value, (list, tuple, set, frozenset)):
        for index, item in enumerate(value):
            yield from leaves_of(item, f"{path}[{index}]")
    elif isinstance(value, torch.Tensor) and hasattr(value, "__tensor_flatten__"):
        for name in value.__tensor_flatten__()[0]:
            yield from leaves_of(getattr(value, name), f"{path}.{name}")
    else:
        yield path, value


def find_difference(first: Any, second: Any) -> str | None:
    """Where two nested values are not the same to the last bit; None if they are."""
    ours, theirs = dict(leaves_of(first)), dict(leaves_of(second))
    for path in {**ours, **theirs}:
        if path not in ours or path not in theirs or not _is_same(ours[path], theirs[path]):
            return path
    return None


def _is_same(first: Any, second: Any) -> bool:
    if isinstance(first, torch.Tensor) and isinstance(second, torch.Tensor):
        return first.dtype == second.dtype and torch.equal(first, second)
    if isinstance(first, (bool, int, float, str, bytes, type(None))):
        return type(first) is type(second) and first == second
    return type(first) is type(second)


def attributes_of(optimizer: Optimizer) -> dict[str, Any]:
    """What an optimizer has besides what it saves."""
    return {
        name: value for name, value in vars(optimizer).items() if name not in ("state", "param_groups")
    }


def count_state_bytes(optimizer: Optimizer) -> int:
    """Bytes of all tensors that an optimizer keeps beside the parameters and their gradients.

    They are looked for in what it saves, and in its attributes.
    """
    attributes = attributes_of(optimizer)
    storages = {
        storage.data_ptr() or id(value): storage.nbytes()
        for _, value in leaves_of([optimizer.state_dict(), attributes])
        if isinstance(value, torch.Tensor)
        for storage in [value.untyped_storage()]
    }
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for _, value in leaves_of([[parameter.data, parameter.grad] for parameter in parameters]):
        if isinstance(value, torch.Tensor):
            storages.pop(value.untyped_storage().data_ptr(), None)
    return sum(storages.values())

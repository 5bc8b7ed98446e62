"""Moving batches to a device, however they are nested."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch


def to_device(data: Any, device: torch.device, non_blocking: bool = True) -> Any:
    """The same structure with its tensors on ``device``; what is no tensor stays as it is.

    Args:
        data: Tensors in mappings, lists and tuples.
        device: Where to.
        non_blocking: Go on while copies from pinned memory are made.
    """
    if type(data) is dict and _is_on(device, data):
        return data.copy()

    def move(tensor: torch.Tensor) -> torch.Tensor:
        return tensor if tensor.device == device else tensor.to(device, non_blocking=non_blocking)

    return map_tensors(move, data)


def _is_on(device: torch.device, batch: dict[Any, Any]) -> bool:
    """Whether a batch is nothing but tensors on a device: on a CPU nearly every one is.

    Then there is nothing to take apart and put together again (`benchmarks/loop.py`).
    """
    for value in batch.values():  # noqa: SIM110  (half the instructions of `all`, at each batch)
        if type(value) is not torch.Tensor or value.device != device:
            return False
    return True


def to_float32(data: Any) -> Any:
    """The same structure with its float16 and bfloat16 tensors in float32."""
    return map_tensors(lambda t: t.float() if t.dtype in (torch.float16, torch.bfloat16) else t, data)


def map_tensors(function: Callable[[torch.Tensor], torch.Tensor], data: Any) -> Any:
    """The same structure with each tensor replaced by what a function makes of it."""
    if isinstance(data, torch.Tensor):
        return function(data)
    if isinstance(data, Mapping):
        mapped = {key: map_tensors(function, value) for key, value in data.items()}
        return mapped if type(data) is dict else type(data)(mapped)  # type: ignore[call-arg]
    if isinstance(data, tuple) and hasattr(data, "_fields"):
        return type(data)(*(map_tensors(function, value) for value in data))
    if isinstance(data, (list, tuple)):
        return type(data)(map_tensors(function, value) for value in data)
    return data


def detach(data: Any) -> Any:
    """The same structure with its tensors cut off from their gradients."""
    return map_tensors(torch.Tensor.detach, data)

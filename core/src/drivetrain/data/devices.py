"""Moving batches to a device, however they are nested."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch


def to_device(data: Any, device: torch.device) -> Any:
    """The same structure with its tensors on ``device``; what is no tensor stays as it is."""
    return _map_tensors(lambda t: t if t.device == device else t.to(device, non_blocking=True), data)


def to_float32(data: Any) -> Any:
    """The same structure with its float16 and bfloat16 tensors in float32."""
    return _map_tensors(lambda t: t.float() if t.dtype in (torch.float16, torch.bfloat16) else t, data)


def _map_tensors(function: Callable[[torch.Tensor], torch.Tensor], data: Any) -> Any:
    if isinstance(data, torch.Tensor):
        return function(data)
    if isinstance(data, Mapping):
        mapped = {key: _map_tensors(function, value) for key, value in data.items()}
        return mapped if type(data) is dict else type(data)(mapped)  # type: ignore[call-arg]
    if isinstance(data, tuple) and hasattr(data, "_fields"):
        return type(data)(*(_map_tensors(function, value) for value in data))
    if isinstance(data, (list, tuple)):
        return type(data)(_map_tensors(function, value) for value in data)
    return data


def detach(data: Any) -> Any:
    """The same structure with its tensors cut off from their gradients."""
    if isinstance(data, torch.Tensor):
        return data.detach()
    if isinstance(data, Mapping):
        return {key: detach(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return tuple(detach(value) for value in data)
    return data

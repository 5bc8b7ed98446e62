"""Moving batches to a device, however they are nested."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch


def to_device(data: Any, device: torch.device) -> Any:
    """The same structure with its tensors on ``device``; what is no tensor stays as it is."""
    if isinstance(data, torch.Tensor):
        return data if data.device == device else data.to(device, non_blocking=True)
    if isinstance(data, Mapping):
        moved = {key: to_device(value, device) for key, value in data.items()}
        return moved if type(data) is dict else type(data)(moved)  # type: ignore[call-arg]
    if isinstance(data, tuple) and hasattr(data, "_fields"):
        return type(data)(*(to_device(value, device) for value in data))
    if isinstance(data, (list, tuple)):
        return type(data)(to_device(value, device) for value in data)
    return data


def to_float32(data: Any) -> Any:
    """The same structure with its float16 and bfloat16 tensors in float32."""
    if isinstance(data, torch.Tensor):
        return data.float() if data.dtype in (torch.float16, torch.bfloat16) else data
    if isinstance(data, Mapping):
        cast = {key: to_float32(value) for key, value in data.items()}
        return cast if type(data) is dict else type(data)(cast)  # type: ignore[call-arg]
    if isinstance(data, tuple) and hasattr(data, "_fields"):
        return type(data)(*(to_float32(value) for value in data))
    if isinstance(data, (list, tuple)):
        return type(data)(to_float32(value) for value in data)
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

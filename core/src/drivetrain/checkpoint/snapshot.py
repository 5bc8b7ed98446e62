"""Copies of tensors in host memory, from which a checkpoint is written while training goes on."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn


class HostCopies:
    """Copies values into memory that is kept from one time to the next.

    To touch fresh memory is what makes a copy slow, so that the second one takes a fraction of the time
    of the first. Tensors that are one (tied weights) are copied once. The copies are as large as what
    is copied, and live as long as this object.
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[Any, ...], torch.Tensor] = {}
        # Sources are held on to: an address is a tensor's only as long as it lives.
        self._copied: dict[Any, tuple[torch.Tensor, torch.Tensor]] = {}

    def finish(self) -> None:
        """End a set of copies, all of which are there now; the next `take` may overwrite them."""
        if any(copied.is_pinned() for _, copied in self._copied.values()):
            torch.cuda.synchronize()
        self._copied = {}

    def take(self, value: Any, *name: Any) -> Any:
        """A copy of tensors, numbers, texts and containers.

        Args:
            value: What is copied.
            name: What it is called, the same at each time and unlike others.
        """
        if isinstance(value, torch.Tensor):
            return self._take_tensor(value, name)
        if type(value) in (list, tuple):
            return type(value)(self.take(item, *name, index) for index, item in enumerate(value))
        if isinstance(value, dict):
            items = {key: self.take(item, *name, key) for key, item in value.items()}
            return items if type(value) is dict else _with_items(value, items)
        return copy.deepcopy(value)

    def _take_tensor(self, tensor: torch.Tensor, name: tuple[Any, ...]) -> torch.Tensor:
        tensor = tensor.detach()
        if type(tensor) not in (torch.Tensor, nn.Parameter) or tensor.layout != torch.strided:
            return tensor.cpu().clone()  # tensors of other classes know best what they consist of
        identity = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype, tensor.device)
        known = self._copied.get(identity) if tensor.numel() else None
        if known is not None:
            return known[1]
        kept = self._kept.get(name)
        is_on_device = tensor.device.type != "cpu"
        if kept is None or kept.shape != tensor.shape or kept.dtype != tensor.dtype:
            kept = torch.empty(
                tensor.shape, dtype=tensor.dtype, device="cpu", pin_memory=tensor.device.type == "cuda"
            )
            self._kept[name] = kept
        kept.copy_(tensor, non_blocking=is_on_device and kept.is_pinned())
        self._copied[identity] = tensor, kept
        return kept


def _with_items(value: Any, items: dict[Any, Any]) -> Any:
    """A dict of another class (a module's ordered one) with other items, and its attributes."""
    result = copy.copy(value)
    result.update(items)
    return result

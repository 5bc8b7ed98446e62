"""What an evaluation keeps of each batch, put together once at the end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

PADDING = -100
"""What batches are filled up with where they differ in their second dimension."""


class PredictionStore:
    """Collects nested tensors of batches; concatenates them along the first dimension once.

    Args:
        move_every: Batches after which what was collected is moved to host memory; None: at the end.
    """

    def __init__(self, move_every: int | None = None) -> None:
        self._move_every = move_every
        self._waiting: list[Any] = []
        self._arrays: list[Any] = []

    def add(self, value: Any) -> None:
        """Keep the value of a batch: a tensor of shape (batch, ...), or such tensors nested."""
        self._waiting.append(value)
        if self._move_every is not None and len(self._waiting) >= self._move_every:
            self._move()

    def concatenate(self) -> Any:
        """All batches as arrays of shape (samples, ...), nested as they were; None without batches."""
        self._move()
        return _concatenate(self._arrays) if self._arrays else None

    def _move(self) -> None:
        self._arrays.extend(_to_numpy(value) for value in self._waiting)
        self._waiting.clear()


def _to_numpy(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        return value.float().numpy() if value.dtype == torch.bfloat16 else value.numpy()
    if isinstance(value, Mapping):
        return {key: _to_numpy(member) for key, member in value.items()}
    if isinstance(value, (list, tuple)):
        return tuple(_to_numpy(member) for member in value)
    return value


def _concatenate(batches: list[Any]) -> Any:
    first = batches[0]
    if isinstance(first, Mapping):
        return {key: _concatenate([batch[key] for batch in batches]) for key in first}
    if isinstance(first, (list, tuple)):
        return tuple(_concatenate(list(members)) for members in zip(*batches, strict=True))
    if not isinstance(first, np.ndarray):
        return first
    if first.ndim < 2 or len({batch.shape[1] for batch in batches}) == 1:
        return np.concatenate([np.atleast_1d(batch) for batch in batches])
    return _concatenate_ragged(batches)


def _concatenate_ragged(batches: list[np.ndarray]) -> np.ndarray:
    """Concatenate arrays that differ in their second dimension, the shorter ones filled up."""
    rows = sum(batch.shape[0] for batch in batches)
    width = max(batch.shape[1] for batch in batches)
    whole = np.full((rows, width, *batches[0].shape[2:]), PADDING, dtype=batches[0].dtype)
    row = 0
    for batch in batches:
        whole[row : row + batch.shape[0], : batch.shape[1]] = batch
        row += batch.shape[0]
    return whole

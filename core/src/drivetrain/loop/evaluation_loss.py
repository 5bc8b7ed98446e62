"""The loss of an evaluation: folded as it comes, in as much memory for a million batches as for one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

_BLOCK = 128
"""Numbers that NumPy adds up in one go; the sums of such blocks are added in pairs."""

_READ_EVERY = 64
"""Batches whose losses stay on the device before they are read, so that it seldom has to be waited for."""


class EvaluationLoss:
    """The mean over samples of the loss of their batch, in float32 as published.

    Args:
        num_samples: How many samples are expected; None if that is not known.
        leaves_out_non_finite: Leave out what is not finite, unless nothing is.
    """

    def __init__(self, num_samples: int | None, leaves_out_non_finite: bool) -> None:
        self.num_left_out = 0
        self._leaves_out = leaves_out_non_finite
        self._sum = PairwiseSum(num_samples or 0)
        self._left_out = 0.0
        self._waiting: list[float | torch.Tensor] = []
        self._counts: list[int] = []

    def add(self, loss: torch.Tensor | float, num_samples: int) -> None:
        """Count the loss of a batch, a scalar, once for each of its samples."""
        self._waiting.append(_as_scalar(loss))
        self._counts.append(num_samples)
        if len(self._counts) == _READ_EVERY:
            self._read()

    def mean(self) -> float | None:
        """The mean loss; None if there were no samples."""
        self._read()
        if not self.has_finite:
            return self._left_out if self.num_left_out else None
        return float(np.float32(float(self._sum.total()) / self._sum.count))

    @property
    def has_finite(self) -> bool:
        """Whether the mean is one of losses that were not left out."""
        return self._sum.count > 0

    def _read(self) -> None:
        if not self._waiting:
            return
        with np.errstate(over="ignore"):  # what float32 cannot hold is infinite
            losses = np.array(_read_all(self._waiting)).astype(np.float32)
        counts = np.array(self._counts)
        self._waiting.clear()
        self._counts.clear()
        if self._leaves_out and not np.isfinite(losses).all():
            is_kept = np.isfinite(losses)
            self.num_left_out += int(counts[~is_kept].sum())
            self._left_out += sum(losses[~is_kept].tolist())
            losses, counts = losses[is_kept], counts[is_kept]
        self._sum.add(np.repeat(losses, counts))


def _as_scalar(loss: torch.Tensor | float) -> float | torch.Tensor:
    """A loss as a number where that is there to read, and as a tensor where a device has to be waited for."""
    if not isinstance(loss, torch.Tensor):
        loss = torch.as_tensor(loss)
    if loss.dim() > 0:
        loss = loss.detach().float().mean()
    return loss.item() if loss.is_cpu else loss.detach().float()


def _read_all(losses: list[float | torch.Tensor]) -> list[float]:
    """The losses as numbers: those on a device in one go."""
    on_device = [loss for loss in losses if isinstance(loss, torch.Tensor)]
    if not on_device:
        return losses  # type: ignore[return-value]
    read = iter(torch.stack(on_device).tolist())
    return [next(read) if isinstance(loss, torch.Tensor) else loss for loss in losses]


class PairwiseSum:
    """A sum of float32 in the order in which NumPy adds up an array, without having the array.

    The order depends on how many numbers there will be. Where that was not known, or was something
    else, the last bits of the sum may be others.

    Args:
        num_expected: How many numbers there will be.
    """

    def __init__(self, num_expected: int) -> None:
        self.count = 0
        self._blocks = _blocks_of(num_expected)
        self._size, self._num_merges = next(self._blocks)
        self._block = np.empty(_BLOCK, dtype=np.float32)
        self._used = 0
        self._sums: list[np.float32] = []

    def add(self, values: np.ndarray[Any, Any]) -> None:
        """Add numbers, shape (count,)."""
        self.count += len(values)
        while len(values) > 0:
            fitting = values[: self._size - self._used]
            self._block[self._used : self._used + len(fitting)] = fitting
            self._used += len(fitting)
            values = values[len(fitting) :]
            if self._used == self._size:
                self._end_block()

    def total(self) -> np.float32:
        """The sum of what was added."""
        total: np.float32 = np.add.reduce(self._block[: self._used])
        for part in reversed(self._sums):
            total = part + total
        return total

    def _end_block(self) -> None:
        self._sums.append(np.add.reduce(self._block[: self._size]))
        self._used = 0
        for _ in range(self._num_merges):
            last = self._sums.pop()
            self._sums[-1] = self._sums[-1] + last
        self._size, self._num_merges = next(self._blocks)


def _blocks_of(count: int) -> Iterator[tuple[int, int]]:
    """Sizes of the blocks, and how many pairs of sums are complete after each.

    Halves of halves, down to `_BLOCK`, as in NumPy's reductions; each first half a multiple of eight.
    What comes beyond ``count`` is added block by block.
    """
    if count > 0:
        yield from _split(count, 0)
    yield _BLOCK, 0
    while True:
        yield _BLOCK, 1


def _split(count: int, num_merges: int) -> Iterator[tuple[int, int]]:
    if count <= _BLOCK:
        yield count, num_merges
        return
    half = count // 2 - count // 2 % 8
    yield from _split(half, 0)
    yield from _split(count - half, num_merges + 1)

"""One array out of many, in little more memory than it takes itself."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from drivetrain_registry import UsageError

_SLACK = 16
"""The memory grows by at least this part of itself, so that it is not made larger for each batch."""


class GrowingArray:
    """Concatenates arrays of shape (rows, width, ...) along their rows, as they come.

    They are written one after the other into one piece of memory, which is made for as many as are
    expected and grows in place if there are more: at no time are there two copies. What is not written
    to takes no memory. Where widths differ, the rows are spread out at the end, last row first.

    Args:
        padding: What narrower rows are filled up with.
        num_expected: How many arrays will come; None if that is not known.
    """

    def __init__(self, padding: int, num_expected: int | None = None) -> None:
        self._padding = padding
        self._num_expected = num_expected or 1
        self._flat = np.empty(0)
        self._used = 0
        self._shape: tuple[int, ...] = ()
        self._row: tuple[int, ...] | None = None  # the shape of the last row; None: there is none
        self._runs: list[list[int]] = []  # how many rows, and how wide, one after the other

    def add(self, array: np.ndarray[Any, Any]) -> None:
        """Append rows; a scalar is a row.

        Raises:
            UsageError: They differ from those before in more than their number and width.
        """
        if array.ndim == 0:
            array = array.reshape(1)
        shape = array.shape
        if shape[1:] != self._row or array.dtype != self._flat.dtype:
            self._fit(array)
        end = self._used + array.size
        if end > self._flat.size:
            self._resize(end + end // _SLACK)
        self._flat[self._used : end].reshape(shape)[...] = array
        self._used = end
        self._runs[-1][0] += shape[0]

    def _fit(self, array: np.ndarray[Any, Any]) -> None:
        """Make ready for rows of another shape or type than those before, or for the first."""
        if not self._runs:
            self._flat = _make_room(self._num_expected, array)
            self._shape = array.shape
        if array.ndim != len(self._shape) or array.shape[2:] != self._shape[2:]:
            raise UsageError(
                "`eval_do_concat_batches`: an output has shape "
                f"{self._shape} in one batch and {array.shape} in another, and only the first two dimensions "
                "can differ if they are put together. Type eval_do_concat_batches=False, leave the output "
                "out with `ignore_keys`, or reduce it in `preprocess_logits_for_metrics`."
            )
        self._hold(array.dtype)
        width = array.shape[1] if array.ndim > 1 else 1
        if not self._runs or width != self._runs[-1][1]:
            self._runs.append([0, width])
        self._row = array.shape[1:]

    def finish(self) -> np.ndarray[Any, Any]:
        """All rows as one array. Nothing can be added after that."""
        width = max(width for _, width in self._runs)
        rows = sum(rows for rows, _ in self._runs)
        shape = (rows, width, *self._shape[2:])[: len(self._shape)]
        if len({width for _, width in self._runs}) > 1:
            if self._flat.dtype.kind in "bu":  # which cannot hold a negative padding
                self._hold(np.dtype(np.int8))
            self._resize(math.prod(shape))
            self._spread(shape)
        self._resize(math.prod(shape))
        return self._flat.reshape(shape)

    def _hold(self, dtype: np.dtype[Any]) -> None:
        """Make the memory hold numbers of a type, too."""
        held = np.result_type(self._flat.dtype, dtype)
        if held != self._flat.dtype:
            self._flat = self._flat[: self._used].astype(held)

    def _resize(self, size: int) -> None:
        # No view of the memory is alive here, which is what the check would look for.
        self._flat.resize(size, refcheck=False)

    def _spread(self, shape: tuple[int, ...]) -> None:
        """Move each row to where it is in the whole, and fill it up.

        From the last to the first, for none moves forward past where the next begins.
        """
        whole = self._flat.reshape(shape)
        chunk = max(1, shape[0] // (2 * _SLACK))
        end_row, end = shape[0], self._used
        for rows, width in reversed(self._runs):
            for done in range(0, rows, chunk):
                count = min(chunk, rows - done)
                part = (count, width, *shape[2:])
                start = end - math.prod(part)
                moved = self._flat[start:end].reshape(part).copy()
                whole[end_row - count : end_row, :width] = moved
                whole[end_row - count : end_row, width:] = self._padding
                end_row, end = end_row - count, start


def _make_room(count: int, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Memory for that many arrays; for one if there is not as much, which a count may be wrong about."""
    try:
        return np.empty(count * array.size, dtype=array.dtype)
    except (MemoryError, ValueError):
        return np.empty(array.size, dtype=array.dtype)

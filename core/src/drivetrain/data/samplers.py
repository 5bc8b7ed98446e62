"""The order of the samples: a function of seed and epoch alone, and one that can be entered anywhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Sized
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch.utils.data import Sampler

MEGABATCH = 50
"""Batches that are sorted by length together; a small data set has at least four such groups."""
_PIECE = 8192
"""Indices that are made Python numbers at once: a million of them take 40 MB and twice the time."""


class EpochSampler(Sampler[int]):
    """A new random order for each epoch, the same for the same seed.

    The order of epoch ``e`` is that of a generator seeded with ``seed + e``. It depends on nothing
    that happened before, so that a resumed run finds it again; and as it is known before a sample is
    read, entering it at sample ``k`` reads none of the ``k`` before.

    Args:
        data_source: What is sampled; only its length is used.
        seed: The seed of epoch 0.
    """

    def __init__(self, data_source: Sized, seed: int) -> None:
        self.data_source = data_source
        self.seed = seed
        self.epoch = 0
        self.start = 0

    def set_epoch(self, epoch: int) -> None:
        """Give the order of ``epoch`` from the next iteration on."""
        self.epoch = epoch

    def seek(self, start: int) -> None:
        """Begin the next iteration, and no other, at sample ``start`` of its order."""
        self.start = start

    def order(self) -> torch.Tensor:
        """The indices of all samples in the order of the epoch."""
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        return torch.randperm(len(self), generator=generator)

    def __len__(self) -> int:
        return len(self.data_source)

    def __iter__(self) -> Iterator[int]:
        start, self.start = self.start, 0
        pieces = self.order()[start:].split(_PIECE)
        return chain.from_iterable(piece.tolist() for piece in pieces)


class OneGeneratorSampler(EpochSampler):
    """Random orders that are drawn one after the other from one generator.

    The order of epoch ``e`` is the generator's draw number ``e + 1``. To enter it, the draws before
    are made, or those since the epoch that was entered last.
    """

    def __init__(self, data_source: Sized, seed: int) -> None:
        super().__init__(data_source, seed)
        self._generator = torch.Generator().manual_seed(seed)
        self._num_drawn = 0

    def order(self) -> torch.Tensor:
        """The indices of all samples in the order of the epoch."""
        if self._num_drawn > self.epoch:
            self._generator.manual_seed(self.seed)
            self._num_drawn = 0
        for _ in range(self._num_drawn, self.epoch):
            torch.randperm(len(self), generator=self._generator)
        self._num_drawn = self.epoch
        ahead = self._generator.clone_state()  # the same epoch may be asked for again
        return torch.randperm(len(self), generator=ahead)


class LengthGroupedSampler(EpochSampler):
    """Random orders in which neighbours are of about the same length, so that little is padded.

    The samples are shuffled, cut into groups of `MEGABATCH` batches, and sorted within each group, the
    longest first. The longest of all is in the very first batch: what a batch can take of memory is
    taken at once.

    Args:
        dataset_lengths: The length of each sample.
        batch_size: Samples that should be of one length: those of an update.
        seed: The seed of epoch 0.
    """

    def __init__(
        self, dataset_lengths: Sequence[int] | np.ndarray[Any, Any], batch_size: int, seed: int
    ):
        self.lengths = np.asarray(dataset_lengths, dtype=np.int64)
        super().__init__(self.lengths, seed)
        self.batch_size = batch_size
        self._shortness = _shorter_than_longest(self.lengths)

    def order(self) -> torch.Tensor:
        """The indices of all samples in the order of the epoch."""
        order = super().order().numpy()
        if len(order) == 0:
            return torch.from_numpy(order)
        shortness = self._shortness[order]
        longest = int(shortness.argmin())
        for values in (order, shortness):
            values[[0, longest]] = values[[longest, 0]]
        group_size = self.batch_size * max(1, min(MEGABATCH, len(order) // (4 * self.batch_size)))
        return torch.from_numpy(order[_sort_within_groups(shortness, group_size)])


def _shorter_than_longest(lengths: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """By how much each length falls short of the longest, in the smallest type: 16 bits sort fastest."""
    if len(lengths) == 0:
        return lengths
    shortness: np.ndarray[Any, Any] = lengths.max() - lengths
    smaller: np.ndarray[Any, Any] = shortness.astype(np.min_scalar_type(shortness.max()))
    return smaller


def _sort_within_groups(values: np.ndarray[Any, Any], group_size: int) -> np.ndarray[Any, Any]:
    """The places of the values, those of the smallest of each group first; equal ones stay in order."""
    starts = np.arange(0, len(values), group_size)
    # The last group is filled up with the largest value: being last, the filling stays last.
    filled = np.full(len(starts) * group_size, values.max())
    filled[: len(values)] = values
    in_groups = filled.reshape(-1, group_size).argsort(axis=1, kind="stable")
    places: np.ndarray[Any, Any] = (in_groups + starts[:, None]).ravel()
    return places[: len(values)]

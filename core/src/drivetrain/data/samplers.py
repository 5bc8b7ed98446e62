"""The order of the samples: a function of seed and epoch alone, and one that can be entered anywhere."""

from __future__ import annotations

from collections.abc import Iterator, Sized

import torch
from torch.utils.data import Sampler


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

    def __len__(self) -> int:
        return len(self.data_source)

    def __iter__(self) -> Iterator[int]:
        start, self.start = self.start, 0
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        yield from torch.randperm(len(self), generator=generator)[start:].tolist()

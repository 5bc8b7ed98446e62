"""A loader whose passes depend on the seed and the epoch, also where other processes load the data."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import BatchSampler, DataLoader, Sampler


class EpochLoader(DataLoader[Any]):
    """A loader that knows the epoch.

    Random numbers that are drawn in the loading processes come from the seed, the epoch, the process
    that trains, and for data with indices the batch: whichever batch a resumed run begins with, it is
    the one of the uninterrupted run. Without loading processes the numbers are those of this process.

    Args:
        dataset: The data.
        seed: Of the random numbers in the loading processes.
        order_seed: Of the attribute ``generator`` of a stream that has one.
        rank: The process that trains; no two of them draw the same numbers.
        options: Those of PyTorch's loader.
    """

    def __init__(self, dataset: Any, *, seed: int, order_seed: int, rank: int, **options: Any) -> None:
        super().__init__(dataset, generator=torch.Generator(), **options)
        self.seeds = (seed, rank)
        self.order_seed = order_seed
        self.epoch = 0
        if self.num_workers > 0 and options.get("sampler") is not None:
            assert isinstance(self.batch_sampler, BatchSampler)
            # PyTorch guards the attribute against samplers that give other batches; these are the same.
            vars(self)["batch_sampler"] = SeededBatches(self.batch_sampler, self.seeds)

    def set_epoch(self, epoch: int) -> None:
        """Give the pass of ``epoch`` from the next iteration on."""
        self.epoch = epoch
        generator = getattr(self.dataset, "generator", None)
        if isinstance(generator, torch.Generator) and not hasattr(self.dataset, "set_epoch"):
            generator.manual_seed(self.order_seed + epoch)

    def close(self) -> None:
        """End the loading processes that live on between passes; the next pass starts new ones.

        Left to the garbage collector, each takes five seconds: it takes their queues apart before they
        are told to end.
        """
        iterator, self._iterator = self._iterator, None
        shut_down = getattr(iterator, "_shutdown_workers", None)
        if callable(shut_down):
            shut_down()

    def __iter__(self) -> Any:
        assert self.generator is not None
        self.generator.manual_seed(mix(*self.seeds, self.epoch))
        if self.epoch == 0 or not self.persistent_workers:
            # The number that PyTorch would draw of its own for the processes, were there no generator:
            # dropout and the like go on as they do beside any other loader.
            torch.empty((), dtype=torch.int64).random_()
        return super().__iter__()


class SeededBatches(Sampler[list[int]]):
    """Batches that bring along the seed of the random numbers that are drawn while they are loaded.

    Args:
        batches: The batches.
        seeds: What the seed depends on, besides the epoch and the batch's number in it.
    """

    def __init__(self, batches: BatchSampler, seeds: Iterable[int]) -> None:
        self.batches = batches
        self.sampler = batches.sampler
        self.batch_size = batches.batch_size
        self.drop_last = batches.drop_last
        self.seeds = tuple(seeds)
        self.epoch = 0
        self.start = 0

    def set_epoch(self, epoch: int) -> None:
        """Give the seeds of ``epoch`` from the next iteration on."""
        self.epoch = epoch

    def seek(self, start: int) -> None:
        """Number the batches of the next iteration, and of no other, from ``start`` on."""
        self.start = start

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[int]]:
        start, self.start = self.start, 0
        for number, indices in enumerate(self.batches, start):
            yield SeededBatch(indices, mix(*self.seeds, self.epoch, number))


class SeededBatch(list[int]):
    """Indices that seed the process that they are sent to, in the moment in which it receives them.

    A loading process receives a batch, loads it, and then receives the next.
    """

    def __init__(self, indices: Iterable[int], seed: int) -> None:
        super().__init__(indices)
        self.seed = seed

    def __reduce__(self) -> Any:
        return receive, (list(self), self.seed)


def receive(indices: list[int], seed: int) -> list[int]:
    """Seed Python, NumPy and PyTorch on the CPU; return the indices."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.default_generator.manual_seed(seed)
    return indices


def mix(*numbers: int) -> int:
    """One seed of several numbers; no two neighbours give seeds that are alike."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])

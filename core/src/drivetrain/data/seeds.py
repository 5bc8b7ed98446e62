"""Random numbers in loading processes: they depend on seed, epoch and batch, and on nothing else."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import BatchSampler, Sampler


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
    """Seed this process; return the indices."""
    seed_process(seed)
    return indices


def mix(*numbers: int) -> int:
    """One seed of several numbers; no two neighbours give seeds that are alike."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])


def seed_process(seed: int) -> None:
    """Seed Python, NumPy and PyTorch on the CPU."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.default_generator.manual_seed(seed)

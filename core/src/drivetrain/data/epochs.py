"""A loader whose passes depend on the seed and the epoch, also where other processes load the data."""

from __future__ import annotations

import functools
import warnings
from typing import Any

import torch
from torch.autograd import _profiler_enabled, profiler  # type: ignore[attr-defined]
from torch.utils.data import BatchSampler, DataLoader, IterableDataset, MapDataPipe

from drivetrain.data.seeds import SeededBatches, mix
from drivetrain.data.streams import EnterableStream, is_followable, read_through

_PROFILED_AS = "enumerate(DataLoader)#_SingleProcessDataLoaderIter.__next__"
"""What PyTorch's iterator calls the loading of a batch, and what those who read a profile look for."""


class EpochLoader(DataLoader[Any]):
    """A loader that knows the epoch.

    Random numbers that are drawn in the loading processes come from the seed, the epoch, the process
    that trains, and the batch: whichever batch a resumed run begins with, it is the one of the
    uninterrupted run. Without loading processes the numbers are those of this process.

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
        self.stream: EnterableStream | None = None
        if is_followable(dataset):
            self.stream = EnterableStream(
                dataset, self.batch_size, self.seeds, is_shared=self.persistent_workers
            )
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
        if not self.persistent_workers:
            self.close()  # the last pass may have been left before its end
        if self.stream is not None:
            self.stream.set_epoch(self.epoch)
        assert self.generator is not None
        self.generator.manual_seed(mix(*self.seeds, self.epoch))
        if self.epoch == 0 or not self.persistent_workers:
            # The number that PyTorch would draw of its own for the processes, were there no generator:
            # dropout and the like go on as they do beside any other loader.
            torch.empty((), dtype=torch.int64).random_()
        if self._reads_here():
            return BatchReader(self)
        with read_through(self, self.stream):
            return super().__iter__()

    def _reads_here(self) -> bool:
        """Whether batches are samples by index, and nothing but this process is needed to load them."""
        is_here = self.num_workers == 0 and not self.pin_memory and self.batch_sampler is not None
        return is_here and not isinstance(self.dataset, (IterableDataset, MapDataPipe))


class BatchReader:
    """The batches of a pass, read in this process.

    PyTorch's own iterator announces each batch to profilers, also where there is none, which takes a
    third of the instructions of loading a small batch (`benchmarks/loop.py`).
    """

    def __init__(self, loader: EpochLoader) -> None:
        assert loader.batch_sampler is not None
        self._batches = loader.batch_sampler
        self._order = iter(self._batches)
        self._dataset = loader.dataset
        self._get_many = getattr(loader.dataset, "__getitems__", None)
        self._collate = loader.collate_fn

    def __iter__(self) -> BatchReader:
        return self

    def __len__(self) -> int:
        return len(self._batches)  # type: ignore[arg-type]  # of a sampler that knows

    def __next__(self) -> Any:
        indices = next(self._order)
        if not (profiler._is_profiler_enabled or _profiler_enabled()):
            return self._read(indices)
        with profiler.record_function(_PROFILED_AS):
            return self._read(indices)

    def _read(self, indices: list[int]) -> Any:
        dataset, get_many = self._dataset, self._get_many
        return self._collate(get_many(indices) if get_many else [dataset[index] for index in indices])


@functools.cache
def stateful_loader() -> type[EpochLoader] | None:
    """An `EpochLoader` that keeps the states of its loading processes; None if torchdata is not installed."""
    try:
        from torchdata.stateful_dataloader import StatefulDataLoader
    except ImportError:
        return None

    class StatefulEpochLoader(EpochLoader, StatefulDataLoader):  # type: ignore[misc]
        """Each batch brings along the state of the process that loaded it."""

        def __init__(self, dataset: Any, **options: Any) -> None:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", ".*set_vital")  # of PyTorch, which torchdata calls
                super().__init__(dataset, **options)

    return StatefulEpochLoader

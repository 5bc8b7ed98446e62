"""Streams as a loader reads them: counted, and entered where their state says."""

from __future__ import annotations

import collections
import contextlib
import copy
import itertools
import logging
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, IterableDataset, IterDataPipe, get_worker_info

from drivetrain.data.seeds import mix, seed_process

logger = logging.getLogger(__name__)

END = object()
"""What stands for a sample where there is none."""


class EnterableStream(IterableDataset[Any]):
    """A stream as one loader reads it: it counts, and begins where it is told to.

    In a loading process the random numbers of each batch come from a seed of its own, so that whichever
    batch a pass is entered at draws those of the uninterrupted pass.

    Args:
        dataset: The stream.
        batch_size: Samples a batch.
        seeds: What the random numbers depend on, besides the epoch, the loading process and the batch's
            number in it; by default the seed that PyTorch gives the process.
        is_shared: Processes live on from one pass to the next, and are to hear of the epoch.
    """

    def __init__(
        self, dataset: Any, batch_size: int | None, seeds: Iterable[int] = (), is_shared: bool = False
    ) -> None:
        self.source = self.dataset = dataset
        self.batch_size = batch_size or 1
        self.seeds = tuple(seeds)
        self.epoch = torch.zeros((), dtype=torch.int64)
        if is_shared:
            self.epoch.share_memory_()
        self.num_taken = 0
        self.has_ended = False
        self.is_at_end = False
        self.entrance: dict[str, Any] | None = None

    def set_epoch(self, epoch: int) -> None:
        """Draw the random numbers of ``epoch`` from the next iteration on."""
        self.epoch.fill_(epoch)

    def state_dict(self) -> dict[str, Any]:
        """Where the pass is: the stream's own state, the samples taken, and whether it ran dry.

        The last is part of it because many a stream is at its beginning again once it has run dry.
        """
        state = copy.deepcopy(self.dataset.state_dict())
        return {"dataset": state, "num_taken": self.num_taken, "has_ended": self.has_ended}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Begin the next iteration, and no other, where ``state_dict`` was taken."""
        self.entrance = state_dict

    def go_to_end(self, state_dict: dict[str, Any]) -> None:
        """Begin the next iteration with the pass after the one that ``state_dict`` is at the end of."""
        self.load_state_dict({**state_dict, "has_ended": True})
        collections.deque(self, maxlen=0)

    def __iter__(self) -> Iterator[Any]:
        entrance, self.entrance = self.entrance, None
        was_at_end, self.is_at_end = self.is_at_end, False
        self.dataset = own_copy(self.source)
        self.num_taken, self.has_ended = 0, False
        if entrance is None:
            return self._follow(iter(self.dataset), was_at_end)
        self.num_taken, self.has_ended = entrance["num_taken"], entrance["has_ended"]
        self.is_at_end = self.has_ended
        if self.num_taken > 0 or self.dataset is self.source:
            self.dataset.load_state_dict(entrance["dataset"])
        samples = iter(self.dataset)
        is_doubtful = self.dataset is not self.source and get_worker_info() is not None
        return self._follow(self._enter(samples) if is_doubtful else samples, was_at_end)

    def _enter(self, samples: Iterator[Any]) -> Iterator[Any]:
        """The samples from where a Hugging Face stream was told to begin, in a loading process.

        There it cannot take up every state: that of sources one after the other (`concatenate_datasets`)
        is an error, when the first sample is asked for. The samples before are read again then.
        """
        try:
            first = next(samples, END)
        except Exception as error:
            logger.warning(
                "%d samples are read again: %s could not take up its state (%s: %s).",
                self.num_taken,
                type(self.source).__name__,
                type(error).__name__,
                error,
            )
            self.dataset = own_copy(self.source)
            samples = iter(self.dataset)
            collections.deque(itertools.islice(samples, self.num_taken), maxlen=0)
            self._seed(self.num_taken // self.batch_size)
            first = next(samples, END)
        if first is not END:
            yield first
            yield from samples

    def _follow(self, samples: Iterator[Any], was_at_end: bool) -> Iterator[Any]:
        """The samples of a pass.

        One that comes after a pass that was entered at its end, where nothing was read, may find the
        stream still there, which is at its beginning when it is asked again.
        """
        while not self.has_ended:
            if self.num_taken % self.batch_size == 0:
                self._seed(self.num_taken // self.batch_size)
            sample = next(samples, END)
            if sample is END and was_at_end and self.num_taken == 0:
                samples, was_at_end = iter(self.dataset), False
            elif sample is END:
                self.has_ended = True
            else:
                self.num_taken += 1
                yield sample

    def _seed(self, batch: int) -> None:
        process = get_worker_info()
        if process is not None:
            seeds = self.seeds or (process.seed,)
            seed_process(mix(*seeds, int(self.epoch), process.id, batch))


def has_state(thing: Any) -> bool:
    """Whether a data set or loader can say where it is, and be told."""
    return all(callable(getattr(thing, name, None)) for name in ("state_dict", "load_state_dict"))


def is_followable(dataset: Any) -> bool:
    """Whether an `EnterableStream` can stand for a data set. PyTorch treats its pipes otherwise."""
    return isinstance(dataset, IterableDataset) and not isinstance(dataset, IterDataPipe)


def can_be_entered(dataset: Any) -> bool:
    """Whether a stream's state is all that the rest of a pass depends on."""
    return has_state(dataset) and not has_shuffle_buffer(dataset)


@contextlib.contextmanager
def read_through(loader: DataLoader[Any], stream: EnterableStream | None) -> Iterator[None]:
    """Let iterators that a loader makes meanwhile read its data through ``stream``.

    To everyone else the loader's data set is what it was.
    """
    if stream is None:
        yield
        return
    dataset = loader.dataset
    # PyTorch guards the attribute against data of another kind; this is the same.
    vars(loader)["dataset"] = stream
    try:
        yield
    finally:
        vars(loader)["dataset"] = dataset


# -- Hugging Face's streams -------------------------------------------------------------------------
# They are chains of steps, each with the one before as an attribute, or several in a list.


def has_shuffle_buffer(dataset: Any) -> bool:
    """Whether samples wait in a buffer that Hugging Face's ``state_dict`` leaves out.

    It is filled anew from where the state is, and what it held is lost.
    """
    last = getattr(dataset, "_ex_iterable", None)
    return last is not None and any(getattr(step, "buffer_size", 1) > 1 for step in _steps(last))


def own_copy(dataset: Any) -> Any:
    """A Hugging Face stream that shares no state with others; any other data set is returned as it is.

    Streams made from one (``skip`` and ``take``, say) share its steps, and these hold the state: to
    evaluate on one would move the other. A copy also forgets the state that it was entered by.
    """
    last = getattr(dataset, "_ex_iterable", None)
    if last is None:
        return dataset
    copied = _shallow(dataset)
    copied._ex_iterable = _copy_steps(last)
    return copied


def _is_step(thing: Any) -> bool:
    return hasattr(thing, "_init_state_dict")


def _steps(last: Any) -> Iterator[Any]:
    yield last
    for value in vars(last).values():
        for member in value if isinstance(value, list) else [value]:
            if _is_step(member):
                yield from _steps(member)


def _copy_steps(last: Any) -> Any:
    copied = _shallow(last)
    for name, value in vars(copied).items():
        if isinstance(value, list):
            vars(copied)[name] = [_copy_steps(item) if _is_step(item) else item for item in value]
        elif _is_step(value):
            vars(copied)[name] = _copy_steps(value)
    return copied


def _shallow(thing: Any) -> Any:
    """A shallow copy; `copy.copy` would give one with the very same attributes."""
    copied = object.__new__(type(thing))
    vars(copied).update(vars(thing))
    return copied

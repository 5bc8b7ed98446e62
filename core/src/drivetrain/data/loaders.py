"""Loaders: from a data set and the arguments to batches, from any point of an epoch on."""

from __future__ import annotations

import collections
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import DataLoader, IterableDataset, Sampler, SequentialSampler

from drivetrain.data.columns import ColumnFilter
from drivetrain.data.samplers import EpochSampler

if TYPE_CHECKING:
    from drivetrain.arguments import TrainingArguments


def make_loader(
    dataset: Any,
    args: TrainingArguments,
    collator: Callable[[list[Any]], Any],
    column_filter: ColumnFilter | None,
    *,
    description: str,
    batch_size: int,
    sampler: Sampler[int] | None,
) -> DataLoader[Any]:
    """A PyTorch loader over a data set.

    Args:
        dataset: Map-style or iterable; with ``column_names`` its columns are removed up front, in
            other cases the keys of each sample.
        args: The arguments, for those named ``dataloader_...``.
        collator: From a list of samples to a batch.
        column_filter: What to leave out, or None.
        description: What the data is called in logs: ``"training"``.
        batch_size: Samples a batch.
        sampler: The order; None for iterable data sets, which have one of their own.
    """
    if column_filter is not None:
        if hasattr(dataset, "remove_columns") and getattr(dataset, "column_names", None):
            dataset = column_filter.filter_dataset(dataset, description)
        else:
            collator = column_filter.wrap_collator(collator, description)
    options: dict[str, Any] = {
        "batch_size": batch_size,
        "collate_fn": collator,
        "num_workers": args.dataloader_num_workers,
        "pin_memory": args.dataloader_pin_memory and torch.cuda.is_available(),
        "persistent_workers": args.dataloader_persistent_workers,
        "prefetch_factor": args.dataloader_prefetch_factor,
    }
    if not is_iterable(dataset):
        options["sampler"] = sampler
        options["drop_last"] = args.dataloader_drop_last
    return DataLoader(dataset, **options)


def is_iterable(dataset: Any) -> bool:
    """Whether a data set has no samples by index, only a stream of them."""
    return isinstance(dataset, IterableDataset)


def train_sampler(dataset: Any, args: TrainingArguments) -> Sampler[int] | None:
    """The random order of training; None for a data set without a length."""
    if is_iterable(dataset) or not hasattr(dataset, "__len__"):
        return None
    return EpochSampler(dataset, args.seed if args.data_seed is None else args.data_seed)


def eval_sampler(dataset: Any) -> Sampler[int] | None:
    """The order of evaluation: that of the data set."""
    return None if is_iterable(dataset) else SequentialSampler(dataset)


def iterate_epoch(loader: Iterable[Any], epoch: int, start: int = 0) -> Iterator[Any]:
    """The batches of an epoch from batch ``start`` on.

    Where the loader's sampler can be entered anywhere (`EpochSampler`), the batches before are not
    read; otherwise they are read and thrown away.
    """
    sampler = getattr(loader, "sampler", None)
    for thing in (loader, sampler, getattr(loader, "dataset", None)):
        set_epoch = getattr(thing, "set_epoch", None)
        if callable(set_epoch):
            set_epoch(epoch)
    if start and isinstance(sampler, EpochSampler) and isinstance(loader, DataLoader):
        assert loader.batch_size is not None
        sampler.seek(start * loader.batch_size)
        return iter(loader)
    batches = iter(loader)
    collections.deque(itertools.islice(batches, start), maxlen=0)
    return batches


def num_samples_of(loader: Any) -> int | None:
    """Samples in a loader's data set, or None where it has no length."""
    dataset = getattr(loader, "dataset", None)
    try:
        return len(dataset)  # type: ignore[arg-type]
    except (TypeError, NotImplementedError):
        return None

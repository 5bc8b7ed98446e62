"""How long each sample of a data set is, for putting samples of one length together."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import repeat
from operator import getitem, itemgetter
from typing import Any

import numpy as np

from drivetrain_registry import UsageError

logger = logging.getLogger(__name__)

Lengths = np.ndarray[Any, np.dtype[np.int64]]
DELAY = 2.0
"""Seconds before a progress bar is shown."""


def find_lengths(dataset: Any, column: str, main_input: str, show_progress: bool) -> Lengths:
    """The length of each sample, shape (len(dataset),).

    Args:
        dataset: Map-style. A table (with ``column_names``) is asked for the column alone; of any other
            data set every sample is read once.
        column: The key of lengths that are known.
        main_input: The key of what is measured where there are none.
        show_progress: Show a bar if it takes long.

    Raises:
        UsageError: The samples have neither key, or what they have under it has no length.
    """
    names = getattr(dataset, "column_names", None) or ()
    if column in names:
        return np.asarray(_plain(dataset)[column][:], dtype=np.int64)
    if column != "length":
        logger.warning(
            "`length_column_name`: %r is no column of `train_dataset`; its %r is measured.",
            column,
            main_input,
        )
    if main_input in names and hasattr(dataset, "with_format"):
        pieces = list(_measure_lists(dataset, main_input))
        if pieces:
            return np.concatenate(pieces)
    return _read_lengths(dataset, column, main_input, show_progress)


def _plain(dataset: Any) -> Any:
    """A table whose columns come as arrays; one that cannot be asked for that as it is."""
    return dataset.with_format("numpy") if hasattr(dataset, "with_format") else dataset


def _measure_lists(dataset: Any, name: str) -> Iterator[Lengths]:
    """The lengths of a column of lists, from their offsets; nothing if they have none (texts, images)."""
    for table in dataset.with_format("arrow").iter(10_000):
        for chunk in table.column(name).chunks:
            if not hasattr(chunk, "value_lengths"):
                return
            yield chunk.value_lengths().to_numpy(zero_copy_only=False).astype(np.int64)


def _read_lengths(dataset: Any, column: str, main_input: str, show_progress: bool) -> Lengths:
    size = len(dataset)
    if size == 0:
        return np.zeros(0, dtype=np.int64)
    key, measure = _choose_measure(dataset[0], column, main_input)
    samples = map(getitem, repeat(dataset), _indices(size, show_progress))
    try:
        return np.fromiter(map(measure, map(itemgetter(key), samples)), dtype=np.int64, count=size)
    except (KeyError, TypeError) as error:
        raise UsageError(
            f"`group_by_length`: a sample of `train_dataset` has no {main_input!r} with a length "
            f"({error!r}). Give each sample its length as {column!r}, or leave out group_by_length."
        ) from error


def _indices(size: int, show_progress: bool) -> Iterable[int]:
    """All indices, with a bar if it takes long to go through them."""
    if not show_progress:
        return range(size)
    from tqdm.auto import tqdm  # a fifth of a second that a run without bars does not spend

    bar: Iterable[int] = tqdm(range(size), desc="Lengths", delay=DELAY)
    return bar


def _choose_measure(sample: Any, column: str, main_input: str) -> tuple[str, Callable[[Any], int]]:
    """The key of what is measured, and what makes a length of it."""
    if isinstance(sample, Mapping) and column in sample:
        return column, int
    if isinstance(sample, Mapping) and main_input in sample:
        return main_input, len
    has = f"has {', '.join(map(str, sample))}" if isinstance(sample, Mapping) else type(sample).__name__
    raise UsageError(
        f"`group_by_length`: a sample of `train_dataset` ({has}) has no {main_input!r} to measure. Give "
        f"each sample its length as {column!r}, or name the key of the lengths with `length_column_name`, "
        "or leave out group_by_length."
    )

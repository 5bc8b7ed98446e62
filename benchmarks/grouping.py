"""A pass over a million samples grouped by length, and finding their lengths.

A pass is the order of an epoch and its indices as Python numbers, one after the other, as a loader takes
them. NumPy's way is a permutation, one ``lexsort`` and a list; it gives the very same order (asserted).
"""

from __future__ import annotations

import importlib.util
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from comparison import OURS, Comparison, Goal

from drivetrain.data.sample_lengths import find_lengths
from drivetrain.data.samplers import MEGABATCH, LengthGroupedSampler

BATCH = 32
NUMPY, NUMPY_BEST, COMPREHENSION = "NumPy", "NumPy, group by group", "list comprehension"
Subjects = dict[str, Callable[[], Any]]


def measure(quick: bool) -> list[Comparison]:
    """Time a pass, with short lengths and with long ones, and the search for lengths."""
    size, rounds = (10_000, 2) if quick else (1_000_000, 9)
    torch.set_num_threads(1)
    return [
        compare_passes("lengths up to 512", size, 512, rounds),
        compare_passes("lengths up to 200,000", size, 200_000, rounds),
        compare_searches(size, rounds),
    ]


def compare_passes(what: str, size: int, longest: int, rounds: int) -> Comparison:
    """Time a pass over samples whose lengths are evenly spread."""
    lengths = np.random.default_rng(0).integers(1, longest + 1, size)
    sampler = LengthGroupedSampler(lengths, BATCH, seed=0)
    subjects: Subjects = {
        NUMPY: lambda: walk(sort_all(lengths).tolist()),
        NUMPY_BEST: lambda: walk(sort_groups(lengths).tolist()),
        OURS: lambda: walk(sampler),
    }
    assert list(sampler) == sort_all(lengths).tolist() == sort_groups(lengths).tolist()
    missing = {}
    if importlib.util.find_spec("transformers") is not None:
        from transformers.trainer_pt_utils import LengthGroupedSampler as Published

        published = Published(BATCH, lengths=lengths.tolist())
        subjects["transformers"] = lambda: walk(published)
    else:
        missing["transformers"] = "not installed"
    return Comparison(
        title=f"A pass over {size:,} samples grouped by length, {what}",
        unit="ms",
        reference=NUMPY,
        values=take_turns(subjects, rounds),
        goal=Goal(ratio=1.5),
        note=f"CPU time. transformers draws another order. {NUMPY_BEST!r} sorts each group by itself.",
        missing=missing,
    )


def walk(indices: Iterable[int]) -> None:
    """Take every index."""
    deque(indices, maxlen=0)


def shuffle(lengths: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The permutation of the sampler, the longest sample first."""
    order: np.ndarray[Any, Any] = torch.randperm(
        len(lengths), generator=torch.Generator().manual_seed(0)
    ).numpy()
    longest = int(lengths[order].argmax())
    order[[0, longest]] = order[[longest, 0]]
    return order


def size_of_group(count: int) -> int:
    """Samples that are sorted together."""
    return BATCH * max(1, min(MEGABATCH, count // (4 * BATCH)))


def sort_all(lengths: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The order by NumPy: sorted by group, then by length."""
    order = shuffle(lengths)
    groups = np.arange(len(order)) // size_of_group(len(order))
    return order[np.lexsort((-lengths[order], groups))]


def sort_groups(lengths: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The same by a sort of each group, which is faster."""
    order = shuffle(lengths)
    step = size_of_group(len(order))
    for start in range(0, len(order), step):
        group = order[start : start + step]
        group[:] = group[(-lengths[group]).argsort(kind="stable")]
    return order


def compare_searches(size: int, rounds: int) -> Comparison:
    """Time finding the lengths of samples in a list."""
    words = [list(range(length)) for length in range(1, 65)]
    samples = [{"input_ids": words[index * 7 % 64], "labels": 0} for index in range(size)]
    subjects: Subjects = {
        COMPREHENSION: lambda: np.array([len(sample["input_ids"]) for sample in samples]),
        OURS: lambda: find_lengths(samples, "length", "input_ids", show_progress=False),
    }
    assert (subjects[OURS]() == subjects[COMPREHENSION]()).all()
    return Comparison(
        title=f"Finding the lengths of {size:,} samples in a list",
        unit="ms",
        reference=COMPREHENSION,
        values=take_turns(subjects, rounds),
        goal=Goal(ratio=1.5),
        note="CPU time. transformers does what the list comprehension does, and keeps the list.",
    )


def take_turns(subjects: Subjects, rounds: int) -> dict[str, list[float]]:
    """Milliseconds of CPU that each takes, round by round; one round warms up."""
    times: dict[str, list[float]] = {name: [] for name in subjects}
    for turn in range(rounds + 1):
        for name, subject in subjects.items():
            start = time.process_time()
            subject()
            if turn:
                times[name].append(1000 * (time.process_time() - start))
    return times

"""Evaluating 20,000 samples with 1,000 logits each: time and memory over a loop in bare PyTorch.

Every trainer does the same work (`evaluation_subjects.py`): a linear model with its loss, the same samples
and the same collate function, metrics that look for the largest logit. Each has a process of its own with
one thread, and they take turns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from asking import Asked
from comparison import LEFT_OUT, OURS, Comparison, Goal
from evaluation_subjects import BATCHES, LOGITS, LOSS, NUM_CLASSES, SUBJECTS, BareLoop
from progress import show

SCRIPT = Path(__file__).with_name("evaluation_subjects.py")
BATCH_SIZES = (8, 64)
LONG = 5.0
"""Seconds after which a turn is long: nobody waits for a second one of that trainer."""

Results = dict[str, list[dict[str, Any]]]
"""What the turns of each trainer took, by its name."""


def measure(quick: bool) -> list[Comparison]:
    """Measure all of it; quick: few samples, and two turns of the bare loop and drivetrain."""
    num_samples = 400 if quick else 20_000
    names, missing = find_subjects(quick)
    comparisons = []
    for batch_size in BATCH_SIZES:
        results = take_turns(names, batch_size, num_samples, LOGITS, 2 if quick else 15)
        comparisons += [
            compare_times(results, batch_size, num_samples, missing),
            *compare_peaks(results, batch_size, num_samples, missing),
        ]
    sizes = (500, 1_000, 4_000) if quick else (5_000, 20_000, 80_000)
    for kept, what in ((LOSS, "only the loss is asked for"), (BATCHES, "metrics go batch by batch")):
        comparisons += compare_growth(names, kept, what, sizes, missing)
    return comparisons


def find_subjects(quick: bool) -> tuple[list[str], dict[str, str]]:
    """The trainers that are measured, and why each other one is not."""
    names = [name for name, subject in SUBJECTS.items() if subject.is_installed()]
    missing = {name: "not installed" for name in SUBJECTS if name not in names}
    if quick:
        missing |= {name: LEFT_OUT for name in names if name not in (BareLoop.name, OURS)}
        names = [BareLoop.name, OURS]
    return names, {**missing, "ignite": "has no trainer of its own to evaluate with"}


# -- comparing --------------------------------------------------------------------------------------


def compare_times(
    results: Results, batch_size: int, num_samples: int, missing: dict[str, str]
) -> Comparison:
    """The processor's time of a whole evaluation."""
    return Comparison(
        title=f"CPU time of an evaluation of {num_samples:,} samples, batches of {batch_size}",
        unit="ms",
        reference=BareLoop.name,
        values={name: [1000 * turn["seconds"] for turn in turns] for name, turns in results.items()},
        goal=Goal(ratio=1.1),
        note=(
            "The bare loop writes each batch's logits into one array that was made before; the other appends "
            "them to a list, which is concatenated at the end. All find the accuracy from all logits."
        ),
        missing=missing,
    )


def compare_peaks(
    results: Results, batch_size: int, num_samples: int, missing: dict[str, str]
) -> Iterator[Comparison]:
    """What an evaluation takes of memory at most, where that can be measured (on Linux)."""
    size = num_samples * NUM_CLASSES * 4 / 1e6
    peaks = peaks_of(results)
    if peaks:
        yield Comparison(
            title=f"Peak memory of an evaluation of {num_samples:,} samples, batches of {batch_size}",
            unit=f"times the logits ({size:.4g} MB)",
            reference=BareLoop.name,
            values={name: [peak / size for peak in values] for name, values in peaks.items()},
            goal=Goal(value=1.1),
            note="The most resident memory during the evaluation, above what there was before it.",
            missing=missing,
        )


def compare_growth(
    names: list[str], kept: str, what: str, sizes: Sequence[int], missing: dict[str, str]
) -> Iterator[Comparison]:
    """By how much the peak of memory is higher in an evaluation of many samples than in one of few."""
    peaks = [peaks_of(take_turns(names, 64, size, kept, num_rounds=2)) for size in sizes]
    if all(peaks):
        # The least of the turns of a size, for memory that is taken once and kept is in the first only.
        least = {name: [min(of_size[name]) for of_size in peaks] for name in peaks[0]}
        figures = [
            f"{name} {', '.join(f'{peak:.1f}' for peak in values)}" for name, values in least.items()
        ]
        yield Comparison(
            title=f"Growth of memory where {what}, from {sizes[0]:,} to {sizes[-1]:,} samples",
            unit="MB",
            reference=BareLoop.name,
            values={name: [max(0.0, max(values[1:]) - values[0])] for name, values in least.items()},
            goal=Goal(more=1.0),
            note=(
                "How much higher the highest of the later peaks is than the first, of evaluating "
                f"{', '.join(f'{size:,}' for size in sizes)} "
                f"samples in batches of 64. The peaks, in MB: {'; '.join(figures)}."
            ),
            missing=missing,
        )


def peaks_of(results: Results) -> dict[str, list[float]]:
    """The peaks of memory, in MB; nothing where they cannot be measured."""
    found = {name: [turn["megabytes"] for turn in turns] for name, turns in results.items()}
    return found if all(None not in values for values in found.values()) else {}


# -- taking turns -----------------------------------------------------------------------------------


def take_turns(
    names: list[str], batch_size: int, num_samples: int, kept: str, num_rounds: int
) -> Results:
    """Have each trainer evaluate in turn, forwards and backwards; who takes long has one turn only."""
    what = f"{num_samples:,} samples in batches of {batch_size}, {kept} kept"
    results: Results = {name: [] for name in names}
    with ExitStack() as stack:
        show(f"{what}: starting")
        task = [str(batch_size), str(num_samples), kept]
        waiting = {name: stack.enter_context(Asked(SCRIPT, name, *task)) for name in names}
        for turn in range(num_rounds):
            show(f"{what}: turn {turn + 1} of {num_rounds}")
            for name in names if turn % 2 == 0 else reversed(names):
                if not is_long(results[name]):
                    results[name].append(waiting[name].ask())
    check_same_work(results)
    return results


def is_long(turns: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a trainer had a turn that took long."""
    return any(turn["seconds"] > LONG for turn in turns)


def check_same_work(results: Results) -> None:
    """Check that all came to the same loss and accuracy: who evaluates something else is not compared."""
    expected = results[BareLoop.name][0]["metrics"]
    for name, turns in results.items():
        for turn in turns:
            found = turn["metrics"]
            assert found.keys() == expected.keys(), f"{name} gave {found}, and not {expected}"
            for metric, value in expected.items():
                assert abs(found[metric] - value) <= 1e-5 * abs(value), (
                    f"{name}: {found}, not {expected}"
                )

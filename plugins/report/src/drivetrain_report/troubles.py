"""What went wrong in a run, in sentences."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from drivetrain_report.amounts import show_count, show_duration, show_steps
from drivetrain_report.runs import RunRecord

_LOSSES = "train/non_finite_losses"
_LONGEST_USUAL_PAUSE = 60.0
_NUM_GAPS = 5


@dataclass(frozen=True)
class Trouble:
    """Something to know of a run.

    Attributes:
        is_serious: An error, or a number that is none: not only a stop from which it was resumed.
    """

    text: str
    is_serious: bool = True


def find_troubles(run: RunRecord) -> list[Trouble]:
    """All that can be told from what the run left."""
    return [
        *_ends(run),
        *_resumptions(run),
        *_non_finite(run),
        *_gaps(run),
        *_broken_checkpoints(run),
        *_others(run),
    ]


def _ends(run: RunRecord) -> Iterator[Trouble]:
    for position, part in enumerate(run.parts):
        is_last = position == len(run.parts) - 1
        where, why = f"at step {part.last_step}", "; ".join(part.errors)
        if part.outcome is None:
            how = "was killed, or is still running" if is_last else "was killed"
            yield Trouble(f"It {how}: nothing was logged after step {part.last_step}.", is_last)
        elif part.outcome != "finished":
            how = f"It {_verb(part.outcome)} {where}"
            yield Trouble(f"{how}: {why}" if why else f"{how}.", part.outcome == "failed")
        elif why:
            yield Trouble(f"Reported {where}: {why}")


def _verb(outcome: str) -> str:
    return {"failed": "failed", "interrupted": "was interrupted"}.get(outcome, f"ended ({outcome})")


def _resumptions(run: RunRecord) -> Iterator[Trouble]:
    for before, part in pairwise(run.parts):
        if not part.start_step or not part.has_trained:
            continue
        again = before.last_step - part.start_step
        text = f"It was resumed from step {part.start_step}"
        if again > 0:
            text += f"; {show_count(again, 'step')} that had been trained already {_was(again)} trained again"
        pause = part.began - before.ended
        if pause > _LONGEST_USUAL_PAUSE:
            text += f", after a pause of {show_duration(pause)}"
        yield Trouble(f"{text}.", is_serious=False)
    if run.parts and run.parts[0].start_step:
        start = run.parts[0].start_step
        yield Trouble(f"It was resumed from step {start}; the part before is not in this file.", False)


def _was(number: int) -> str:
    return "was" if number == 1 else "were"


def _non_finite(run: RunRecord) -> Iterator[Trouble]:
    counted = run.logged.series.get(_LOSSES)
    if counted is not None:
        steps = [s for s, value in zip(counted.steps, counted.values, strict=True) if value]
        total = int(sum(value for value in counted.values if math.isfinite(value)))
        if steps:
            yield Trouble(
                f"{show_count(total, 'loss', 'losses')} of micro-batches {_was(total)} not finite, up to "
                f"{show_steps(steps)}."
            )
    for name, series in run.logged.series.items():
        steps = series.non_finite_steps()
        if steps:
            number = show_count(len(steps), "value")
            yield Trouble(f"{number} of {name} {_is(len(steps))} not finite: {show_steps(steps)}.")


def _is(number: int) -> str:
    return "is" if number == 1 else "are"


def _gaps(run: RunRecord) -> Iterator[Trouble]:
    """Where lines of losses are missing: more than twice the usual distance lies between two of them."""
    series = run.logged.series.get("train/loss")
    steps = sorted(set(series.steps)) if series else []
    distances = [b - a for a, b in pairwise(steps)]
    if len(distances) < 4:
        return
    usual = statistics.median(distances)
    gaps = [(a, b) for a, b in pairwise(steps) if b - a > 2 * usual]
    shown = ", ".join(f"{a} and {b}" for a, b in gaps[:_NUM_GAPS])
    if gaps:
        others = f" and {len(gaps) - _NUM_GAPS} more times" if len(gaps) > _NUM_GAPS else ""
        yield Trouble(f"No loss was logged between the steps {shown}{others}.", is_serious=False)


def _broken_checkpoints(run: RunRecord) -> Iterator[Trouble]:
    for checkpoint in run.checkpoints:
        if checkpoint.fault:
            yield Trouble(f"{checkpoint.folder.name} is not whole: {checkpoint.fault}.")


def _others(run: RunRecord) -> Iterator[Trouble]:
    if run.num_earlier_parts:
        number = show_count(run.num_earlier_parts, "earlier start")
        yield Trouble(f"{number} in the same folder {_is(run.num_earlier_parts)} left out.", False)


def describe_outcome(run: RunRecord) -> str:
    """How the run ended, in a word or two."""
    if run.parts:
        last = ([part for part in run.parts if part.has_trained] or list(run.parts))[-1]
        return last.outcome or "no end was logged"
    step, max_steps = run.state.get("global_step"), run.state.get("max_steps")
    if isinstance(step, int) and isinstance(max_steps, int) and max_steps > 0:
        return "finished" if step >= max_steps else f"saved at step {step} of {max_steps}"
    return "unknown"

"""The rate of each update under a schedule, read off an optimizer that is stepped with it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau

from drivetrain import get_scheduler
from drivetrain.plugin import UsageError
from drivetrain_report.amounts import show_number

_ON_METRIC = "reduce_lr_on_plateau"
_MOST_STEPS = 10_000_000


class Request(NamedTuple):
    """What to draw: updates in all, those of them that warm up, and the rate at the peak."""

    num_steps: int
    num_warmup_steps: int
    learning_rate: float


@dataclass(frozen=True)
class Rates:
    """What a schedule does.

    Attributes:
        title: The name, and the options if there are any.
        values: The rate of each update, beginning with the first.
        request: What was asked for.
    """

    title: str
    values: Sequence[float]
    request: Request

    @property
    def peak(self) -> float:
        """The highest rate."""
        return max(self.values)

    @property
    def peak_step(self) -> int:
        """The first update with that rate; the first of all is 1."""
        return self.values.index(self.peak) + 1


def count_warmup(warmup: float, num_steps: int) -> int:
    """The updates of a warm-up that was given as their number, or as a share of all if below 1.

    Raises:
        UsageError: It is neither, or longer than the run.
    """
    if not 0 <= warmup <= num_steps or (warmup >= 1 and warmup != int(warmup)):
        raise UsageError(
            f"`--warmup`: {show_number(warmup)} is neither a number of updates up to `--steps` "
            f"({num_steps:,}) nor a share below 1. Type --warmup 100, or --warmup 0.1"
        )
    return math.ceil(warmup * num_steps) if warmup < 1 else int(warmup)


def compute_rates(name: str, options: str | None, request: Request) -> Rates:
    """Step an optimizer through a run.

    Args:
        name: As in `lr_scheduler_type`.
        options: As in `lr_scheduler_kwargs`.
        request: What to draw.

    Raises:
        UsageError: There is no such schedule, it does not take these options, or what it does depends on the
            training.
    """
    if not 1 <= request.num_steps <= _MOST_STEPS:
        raise UsageError(
            f"`--steps`: {request.num_steps} is no number of updates from 1 to {_MOST_STEPS:,}."
        )
    if not (math.isfinite(request.learning_rate) and request.learning_rate > 0):
        raise UsageError(f"`--learning-rate`: {request.learning_rate:g} is no rate above 0.")
    if name.rpartition(":")[2] == _ON_METRIC:
        raise _refuse(name)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=request.learning_rate)
    given: Any = options  # a text is read as the argument is
    scheduler = get_scheduler(name, optimizer, request.num_warmup_steps, request.num_steps, given)
    if isinstance(scheduler, ReduceLROnPlateau):
        raise _refuse(name)
    title = f"{name}, {options}" if options else name
    return Rates(title, _step_through(optimizer, scheduler, request.num_steps), request)


def _refuse(name: str) -> UsageError:
    return UsageError(
        f"`lr_scheduler_type`: {name!r} lowers the rate when a metric of the evaluations stops getting "
        "better. What it does shows in a training only."
    )


def _step_through(optimizer: torch.optim.Optimizer, scheduler: Any, num_steps: int) -> list[float]:
    values = []
    for _ in range(num_steps):
        values.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        scheduler.step()
    return values


def describe_rates(found: Sequence[Rates]) -> list[str]:
    """A line for each schedule: where it begins, peaks and ends."""
    width = max(len(rates.title) for rates in found)
    return [f"{rates.title:<{width}}  {_describe(rates)}" for rates in found]


def _describe(rates: Rates) -> str:
    text = (
        f"first {show_number(rates.values[0])}, peak {show_number(rates.peak)} at step {rates.peak_step}, "
        f"mean {show_number(math.fsum(rates.values) / len(rates.values))}, "
        f"last {show_number(rates.values[-1])}"
    )
    if rates.request.num_warmup_steps and rates.values[0] == rates.peak:
        text += "; it does not warm up: `--warmup` has no effect"
    return text

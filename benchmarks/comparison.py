"""What a benchmark measured: figures of several subjects side by side, and the goal for ours."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

OURS = "drivetrain"
LEFT_OUT = "left out of a quick run"
"""Why a trainer is missing that could have been measured."""


@dataclass(frozen=True)
class Goal:
    """What drivetrain's figure is to be at most; one of these.

    Attributes:
        ratio: That many times the reference's.
        more: The reference's and that much more, in the comparison's unit.
        value: That much, in the comparison's unit.
    """

    ratio: float | None = None
    more: float | None = None
    value: float | None = None

    def __post_init__(self) -> None:
        assert [self.ratio, self.more, self.value].count(None) == 2, "a goal is one of the three"

    def __str__(self) -> str:
        if self.ratio is not None:
            return f"at most {self.ratio:.2f} of the reference"
        return (
            f"at most {self.more:g} more than the reference"
            if self.more is not None
            else f"at most {self.value:g}"
        )


@dataclass(frozen=True)
class Comparison:
    """One figure of several subjects, measured in the same run in turns.

    Attributes:
        title: What was measured, as the heading of a table: "Instructions of an update, tiny linear model".
        unit: Of the values: "instructions", "ms", "MB".
        reference: The subject whose figure is 1.00.
        values: Each subject's values, one a round; its median is the figure.
        goal: What drivetrain's is to be; None: nothing was promised.
        note: What a reader has to know of how it was measured, in a sentence or two.
        missing: Subjects that could not be measured, and why.
    """

    title: str
    unit: str
    reference: str
    values: Mapping[str, Sequence[float]]
    goal: Goal | None = None
    note: str = ""
    missing: Mapping[str, str] = field(default_factory=dict)

    def median(self, subject: str) -> float:
        """The figure of a subject."""
        return statistics.median(self.values[subject])

    def ratios(self, subject: str) -> list[float]:
        """Its values over the reference's, round by round; of the medians alone where rounds do not pair.

        What else the machine did at the time was the same for both of a pair, so these vary less than
        the values. There are none where the reference's are zero.
        """
        own, other = self.values[subject], self.values[self.reference]
        if len(own) != len(other):
            own, other = [self.median(subject)], [self.median(self.reference)]
        return [] if 0 in other else [one / reference for one, reference in zip(own, other, strict=True)]

    def ratio(self, subject: str) -> float | None:
        """Its figure over the reference's: the median of the rounds' ratios; None if the other is zero."""
        ratios = self.ratios(subject)
        return statistics.median(ratios) if ratios else None

    @property
    def limit(self) -> float | None:
        """The goal in the comparison's unit; None where there is none, or no reference was measured."""
        if self.goal is None or self.reference not in self.values:
            return None
        if self.goal.value is not None:
            return self.goal.value
        reference = self.median(self.reference)
        return (
            reference + self.goal.more
            if self.goal.more is not None
            else (self.goal.ratio or 0.0) * reference
        )

    @property
    def is_reached(self) -> bool | None:
        """Whether drivetrain's figure is what was promised; None if nothing was, or nothing was measured."""
        limit = self.limit
        if self.goal is None or limit is None or OURS not in self.values:
            return None
        ratio = self.ratio(OURS) if self.goal.ratio is not None else None
        return self.median(OURS) <= limit if ratio is None else ratio <= (self.goal.ratio or 0.0)

    @property
    def ahead(self) -> list[str]:
        """The peers that are better than drivetrain; the reference is none of them."""
        peers = [name for name in self.values if name not in (OURS, self.reference)]
        return [name for name in peers if OURS in self.values and self.median(name) < self.median(OURS)]

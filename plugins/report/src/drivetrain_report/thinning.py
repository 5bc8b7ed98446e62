"""Curves with fewer points: what a browser draws at once, and nothing lost that could be seen."""

from __future__ import annotations

import math

from drivetrain_report.series import Series

MOST_POINTS = 3000


def thin(series: Series, *, keeps_extremes: bool = True) -> Series:
    """The series itself, or of a long one some of its points.

    Args:
        series: The curve.
        keeps_extremes: Keep the lowest and highest of each stretch, the first and last point, and where a
            value is not finite. Else every so many points: curves that are stacked need the same of each.
    """
    if len(series.values) <= MOST_POINTS:
        return series
    if not keeps_extremes:
        return _pick(series, list(range(0, len(series.values), -(-len(series.values) // MOST_POINTS))))
    kept = {0, len(series.values) - 1}
    num_stretches = MOST_POINTS // 2
    for stretch in range(num_stretches):
        begin = stretch * len(series.values) // num_stretches
        end = (stretch + 1) * len(series.values) // num_stretches
        finite = [i for i in range(begin, end) if math.isfinite(series.values[i])]
        if finite:
            kept |= {
                min(finite, key=series.values.__getitem__),
                max(finite, key=series.values.__getitem__),
            }
        if len(finite) < end - begin:
            kept.add(next(i for i in range(begin, end) if not math.isfinite(series.values[i])))
    return _pick(series, sorted(kept))


def _pick(series: Series, positions: list[int]) -> Series:
    return Series(
        [series.steps[i] for i in positions],
        [series.times[i] for i in positions],
        [series.epochs[i] for i in positions],
        [series.values[i] for i in positions],
    )

"""A curve in the characters of a terminal."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence

from drivetrain_report.amounts import show_number
from drivetrain_report.rates import Rates

_ROWS = 10
_WIDEST, _NARROWEST = 100, 20
_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
"""The bits of a Braille character's dots: left column from top to bottom, then the right one."""


def draw_lines(rates: Rates, others: Sequence[Rates]) -> list[str]:
    """The title and the curve over the updates.

    Args:
        rates: What to draw.
        others: What it is drawn beside, itself among them: all have the same scale.
    """
    top = max(other.peak for other in others) or 1.0
    label_width = max(len(show_number(top)), 1)
    columns = min(max(shutil.get_terminal_size().columns - label_width - 3, _NARROWEST), _WIDEST)
    labels = {0: show_number(top), _ROWS - 1: "0"}
    rows = _draw(rates.values, top, columns)
    lines = [f"{labels.get(i, ''):>{label_width}} |{row.rstrip()}" for i, row in enumerate(rows)]
    steps = str(len(rates.values))
    below = f"{'':>{label_width}} +{'-' * columns}"
    return [rates.title, *lines, below, f"{'':>{label_width}}  1{steps:>{columns - 1}}"]


def _draw(values: Sequence[float], top: float, columns: int) -> list[str]:
    if _can_print(chr(0x28FF)):
        return _draw_braille(values, top, columns)
    heights = _sample(values, top, columns, _ROWS)
    cells = [[" "] * columns for _ in range(_ROWS)]
    for column, levels in enumerate(heights):
        for level in levels:
            cells[_ROWS - 1 - level][column] = "*"
    return ["".join(row) for row in cells]


def _draw_braille(values: Sequence[float], top: float, columns: int) -> list[str]:
    """Two by four dots a character."""
    bits = [[0] * columns for _ in range(_ROWS)]
    for x, levels in enumerate(_sample(values, top, columns * 2, _ROWS * 4)):
        for level in levels:
            y = _ROWS * 4 - 1 - level
            bits[y // 4][x // 2] |= _DOTS[x % 2][y % 4]
    return ["".join(chr(0x2800 + cell) if cell else " " for cell in row) for row in bits]


def _sample(values: Sequence[float], top: float, width: int, height: int) -> Iterator[range]:
    """For each column of dots those that the curve goes through, counted from below."""
    before: int | None = None
    for column in range(width):
        begin = column * len(values) // width
        end = max(begin + 1, (column + 1) * len(values) // width)
        levels = [_level(value, top, height) for value in values[begin:end]]
        low, high = min(levels), max(levels)
        if before is not None:  # a jump is a line, too
            low, high = (
                min(low, before + 1 if before < low else low),
                max(high, before - 1 if before > high else high),
            )
        before = levels[-1]
        yield range(low, high + 1)


def _level(value: float, top: float, height: int) -> int:
    return min(height - 1, max(0, round(value / top * (height - 1))))


def _can_print(character: str) -> bool:
    try:
        character.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True

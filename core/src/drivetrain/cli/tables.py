"""Text in columns."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence

_GAP = "  "
_NARROWEST = 8


def terminal_width() -> int | None:
    """Columns of the terminal; None where the output goes to a file or another program."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def format_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], width: int | None = None
) -> list[str]:
    """Lines with the columns aligned.

    Args:
        header: One title a column.
        rows: The cells.
        width: What a line has to fit in: the widest columns are cut to it. None: nothing is cut.
    """
    columns = [max(map(len, cells)) for cells in zip(header, *rows, strict=True)]
    if width is not None:
        columns = _shrink(columns, width)
    return [format_row(row, columns) for row in (header, *rows)]


def format_row(cells: Sequence[str], columns: Sequence[int]) -> str:
    """One line with each cell as wide as its column."""
    shown = (_cut(cell, size).ljust(size) for cell, size in zip(cells, columns, strict=True))
    return _GAP.join(shown).rstrip()


def _shrink(columns: list[int], width: int) -> list[int]:
    """Take from the widest column, one by one, until the line fits."""
    columns = list(columns)
    while sum(columns) + len(_GAP) * (len(columns) - 1) > width and max(columns) > _NARROWEST:
        columns[columns.index(max(columns))] -= 1
    return columns


def _cut(text: str, size: int) -> str:
    return text if len(text) <= size else text[: size - 3] + "..."

"""The tables of the page: HTML in which every text of a run is escaped."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from drivetrain_report.colors import color_of_run


def make_table(header: Sequence[str], rows: Iterable[Sequence[str]], classes: Sequence[str] = ()) -> str:
    """A table.

    Args:
        header: A title for each column, escaped.
        rows: Cells, escaped.
        classes: The class of each column's cells.
    """
    heads = "".join(f"<th>{title}</th>" for title in header)
    body = "".join(f"<tr>{''.join(_cells(row, classes))}</tr>" for row in rows)
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>"


def _cells(row: Sequence[str], classes: Sequence[str]) -> Iterable[str]:
    for position, cell in enumerate(row):
        name = classes[position] if position < len(classes) else ""
        yield f'<td class="{name}">{cell}</td>' if name else f"<td>{cell}</td>"


def show_run(position: int, name: str) -> str:
    """A run's name with its colour."""
    return f'<span class="swatch" style="background:{color_of_run(position)}"></span>{escape(name)}'


def compare(
    names: Sequence[str], columns: Sequence[Mapping[str, Any]], defaults: Mapping[str, Any]
) -> str:
    """Values by name, a column for each run: those to look at first, the others folded away.

    With several runs the first are those that differ, with one those that are not at their default; where
    nothing is known of defaults, all.

    Args:
        names: The runs.
        columns: The values of each.
        defaults: What values are where nobody sets them.
    """
    keys = list(dict.fromkeys(key for column in columns for key in column))
    if not keys:
        return '<div class="card soft">None are known.</div>'
    if len(columns) == 1 and not defaults:
        rows = [[escape(key), _show_value(key, columns[0])] for key in keys]
        return f'<div class="card">{make_table(("", ""), rows, ["name"])}</div>'
    if len(columns) > 1:
        first = [key for key in keys if _differs(key, columns)]
        titles = ("Different", "The same everywhere")
    else:
        first = [key for key in keys if key not in defaults or defaults[key] != columns[0][key]]
        titles = ("Not at their defaults", "At their defaults")
    rest = [key for key in keys if key not in set(first)]
    shown = (show_run(i, name) for i, name in enumerate(names))
    header = ["", *(shown if len(columns) > 1 else [""])]
    return (
        f'<div class="card">{_block(titles[0], first, header, columns, is_open=True)}'
        f"{_block(titles[1], rest, header, columns, is_open=not first)}</div>"
    )


def _differs(key: str, columns: Sequence[Mapping[str, Any]]) -> bool:
    return any((key in c) != (key in columns[0]) or c.get(key) != columns[0].get(key) for c in columns)


def _block(
    title: str,
    keys: Sequence[str],
    header: Sequence[str],
    columns: Sequence[Mapping[str, Any]],
    *,
    is_open: bool,
) -> str:
    if not keys:
        return ""
    rows = [[escape(key), *(_show_value(key, column) for column in columns)] for key in keys]
    table = make_table(header, rows, ["name"])
    opened = " open" if is_open else ""
    return f"<details{opened}><summary>{title} ({len(keys)})</summary>{table}</details>"


def _show_value(key: str, column: Mapping[str, Any]) -> str:
    if key not in column:
        return '<span class="soft">not there</span>'
    value = column[key]
    return escape(value if isinstance(value, str) else json.dumps(value, default=str))

"""Comparisons as a picture: a panel each, a bar for each subject, and lines at the reference and the goal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from comparison import OURS, Comparison

INK, QUIET, BLUE, PALE, RED = "#222222", "#777777", "#1f5d94", "#9ab8d3", "#b3402e"
BAR = 0.27
"""Inches for a bar and what is between it and the next."""

NUMBER = 0.07
"""What a bar's number takes of the width of a panel, about."""

HEAD = 0.75
"""Inches for a panel's title and axis."""


def draw(title: str, comparisons: Sequence[Comparison], path: Path) -> None:
    """Draw what was measured. Needs matplotlib."""
    import matplotlib

    matplotlib.use("Agg")  # draws into files, without a screen
    import matplotlib.pyplot as plt

    shown = [comparison for comparison in comparisons if comparison.values]
    heights = [HEAD + BAR * len(comparison.values) for comparison in shown] or [HEAD]
    figure, panels = plt.subplots(
        len(heights),
        1,
        figsize=(8.5, 0.6 + sum(heights)),
        height_ratios=heights,
        squeeze=False,
        layout="constrained",
    )
    figure.suptitle(title.rstrip("."), x=0.01, ha="left", color=INK, fontsize=11)
    for axes, comparison in zip(panels[:, 0], shown, strict=False):
        _draw_panel(axes, comparison)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _draw_panel(axes: Any, comparison: Comparison) -> None:
    """Ratios; or figures in their unit, where the goal is one, or nothing can be divided by the reference."""
    names = list(comparison.values)
    reference = comparison.median(comparison.reference) if comparison.reference in names else 0
    is_ratio = reference != 0 and (comparison.goal is None or comparison.goal.value is None)
    figures = [
        (comparison.ratio(name) or 0.0) if is_ratio else comparison.median(name) for name in names
    ]
    limit = comparison.limit
    goal = limit / reference if limit is not None and is_ratio else limit
    unit = f"1.00: {comparison.reference}" if is_ratio else comparison.unit
    axes.set_title(f"{comparison.title} ({unit})", loc="left", fontsize=9, color=INK)
    whole = [figures[names.index(name)] for name in (OURS, comparison.reference) if name in names]
    edge = max(_edge(figures, goal), *whole, 0.0)
    lines = [*([1.0] if is_ratio else []), *([] if goal is None else [goal])]
    _draw_bars(axes, names, figures, edge, is_ratio, lines)
    if is_ratio:
        axes.axvline(1.0, color=QUIET, linewidth=1)
    if goal is not None:
        color = RED if comparison.is_reached is False else BLUE
        axes.axvline(goal, color=color, linewidth=1, linestyle=(0, (4, 3)))
        label = f"goal {goal:.2f}" if is_ratio else f"goal {goal:g}"
        axes.annotate(
            label,
            (goal, -0.72),
            fontsize=7,
            color=color,
            ha="left",
            xytext=(3, 0),
            textcoords="offset points",
        )


def _edge(figures: list[float], goal: float | None) -> float:
    """Where the axis may end: longer bars are cut, or the shorter could not be told from one another."""
    usual = sorted([*figures, goal or 0.0])[len(figures) // 2]
    return min(max([*figures, goal or 0.0]), 4 * max(usual, goal or 0.0)) or 1.0


def _beside(length: float, lines: list[float], width: float) -> float:
    """Where the number of a bar begins: at its end, or at the last of the lines that would go through it."""
    for line in sorted(lines):
        if length <= line <= length + width:
            length = line
    return length


def _draw_bars(
    axes: Any, names: list[str], figures: list[float], edge: float, is_ratio: bool, lines: list[float]
) -> None:
    lengths = [min(figure, edge) for figure in figures]
    axes.barh(
        range(len(names)), lengths, color=[BLUE if name == OURS else PALE for name in names], height=0.72
    )
    for position, (figure, length) in enumerate(zip(figures, lengths, strict=True)):
        text = f"{figure:.2f}" if is_ratio else f"{figure:,.4g}"
        axes.annotate(
            f"» {text}" if figure > length else text,
            (_beside(length, lines, NUMBER * edge), position),
            xytext=(4, 0),
            textcoords="offset points",
            fontsize=8,
            color=INK,
            va="center",
        )
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set_xlim(0, 1.12 * edge)
    axes.set_ylim(len(names) - 0.4, -1.0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(colors=QUIET, labelsize=8, length=0)

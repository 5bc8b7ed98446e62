"""The curves of a report as one picture, drawn by matplotlib."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from drivetrain_report.charts import Chart, arrange
from drivetrain_report.colors import color_of_run, color_of_share
from drivetrain_report.runs import RunRecord
from drivetrain_report.writing import MARK_IN_PICTURES

_COLUMNS = 3
_MOST_WITH_MARKERS = 40
_NUM_CHARTS = 24

_LARGEST = 1e300
"""What matplotlib can draw: it multiplies, and takes differences."""


def draw_picture(runs: Sequence[RunRecord]) -> Figure:
    """The charts of the page in a grid, over steps; of very many the first."""
    charts = [chart for section in arrange(runs) for chart in section.charts][:_NUM_CHARTS]
    rows = max(1, math.ceil(len(charts) / _COLUMNS))
    figure = Figure(figsize=(5 * _COLUMNS, 3 * rows + 0.6), layout="constrained")
    FigureCanvasAgg(figure)
    for position, chart in enumerate(charts):
        _draw(figure.add_subplot(rows, _COLUMNS, position + 1), chart)
    handles = [_make_handle(i, run.name) for i, run in enumerate(runs)]
    figure.legend(handles=handles, loc="outside upper left", ncols=4, frameon=False)
    return figure


def save_picture(figure: Figure, file: str) -> None:
    """Write it as a PNG file that `drivetrain report` knows as its own."""
    figure.savefig(file, format="png", dpi=110, metadata={"Software": MARK_IN_PICTURES})


def as_plain_text(text: str) -> str:
    """A text that matplotlib does not take for formulas."""
    return text.replace("$", r"\$")


def _make_handle(position: int, name: str) -> Line2D:
    shown = as_plain_text(name.lstrip("_") or name)  # matplotlib leaves out what begins with "_"
    return Line2D([], [], color=color_of_run(position), linewidth=2, label=shown)


def _draw(axes: Axes, chart: Chart) -> None:
    hint = " (thick: evaluation)" if any(map(chart.is_behind, chart.curves)) else ""
    axes.set_title(as_plain_text(chart.title) + hint, fontsize=10, loc="left")
    axes.grid(color="#e8e8e8", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    if chart.is_stacked:
        _draw_stack(axes, chart)
    else:
        _draw_curves(axes, chart)


def _draw_curves(axes: Axes, chart: Chart) -> None:
    for curve in chart.curves:
        series = curve.series
        axes.plot(
            [_as_drawn(step) for step in series.steps],
            [_as_drawn(value) for value in series.values],
            color=color_of_run(curve.run),
            linewidth=2 if curve.is_second else 1.3,
            alpha=0.45 if chart.is_behind(curve) else 1,
            marker="o" if len(series.steps) <= _MOST_WITH_MARKERS else None,
            markersize=3,
        )


def _as_drawn(number: float) -> float:
    """The number, or NaN, which is a gap."""
    return float(number) if abs(number) <= _LARGEST else math.nan


def _draw_stack(axes: Axes, chart: Chart) -> None:
    by_step = [dict(zip(c.series.steps, c.series.values, strict=True)) for c in chart.curves]
    steps = sorted(step for step in set.intersection(*map(set, by_step)) if abs(step) <= _LARGEST)
    axes.stackplot(
        [float(step) for step in steps],
        [[_as_drawn(values[step]) for step in steps] for values in by_step],
        labels=[as_plain_text(curve.label) for curve in chart.curves],
        colors=[color_of_share(position) for position in range(len(chart.curves))],
    )
    axes.set_ylim(0, 1)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.margins(x=0)
    axes.legend(fontsize=7, ncols=4, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.08))

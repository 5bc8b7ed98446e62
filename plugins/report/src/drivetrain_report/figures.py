"""A chart as a figure of plotly."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from drivetrain_report.charts import Chart, Curve
from drivetrain_report.colors import color_of_run, color_of_share
from drivetrain_report.thinning import thin

_MOST_WITH_MARKERS = 40
_FONT = {"family": "system-ui, -apple-system, Segoe UI, Roboto, sans-serif", "size": 12, "color": "#333"}
_GRID = {"gridcolor": "#e8e8e8", "linecolor": "#bbb", "zeroline": False, "automargin": True}


def make_figure(chart: Chart, run_names: Sequence[str]) -> dict[str, Any]:
    """The figure as JSON values.

    Each trace has under ``meta`` the run's position, and the ``steps``, ``epochs`` and ``times`` that it can
    be drawn over. A value that is not finite is null, which is a gap in the curve.
    """
    traces = [_make_trace(chart, i, curve, run_names) for i, curve in enumerate(chart.curves)]
    figure = go.Figure(traces, _make_layout(chart))
    values: dict[str, Any] = figure.to_plotly_json()
    values["layout"].pop("template", None)
    return values


def finite_or_none(values: Sequence[float]) -> list[float | None]:
    """The values with None for those that are not finite."""
    return [value if math.isfinite(value) else None for value in values]


def _make_trace(chart: Chart, position: int, curve: Curve, run_names: Sequence[str]) -> go.Scatter:
    series = thin(curve.series, keeps_extremes=not chart.is_stacked)
    run = html.escape(run_names[curve.run])
    color = color_of_share(position) if chart.is_stacked else color_of_run(curve.run)
    is_behind = chart.is_behind(curve)
    is_sparse = len(series.steps) <= _MOST_WITH_MARKERS
    trace = go.Scatter(
        x=series.steps,
        y=finite_or_none(series.values),
        mode="lines+markers" if is_sparse and not chart.is_stacked else "lines",
        name=html.escape(curve.label)
        if chart.is_stacked
        else " ".join(filter(None, [run, curve.label])),
        line={"color": color, "width": 2.4 if curve.is_second else 1.4 if is_behind else 1.8},
        opacity=0.5 if is_behind else 1,
        marker={"size": 5, "color": color},
        connectgaps=False,
        showlegend=chart.is_stacked,
        meta={
            "run": curve.run,
            "steps": series.steps,
            "epochs": series.epochs,
            "times": series.times,
            "stacked": chart.is_stacked,
        },
    )
    if chart.is_stacked:
        trace.update(stackgroup="shares", line={"width": 0.5, "color": color}, fillcolor=color)
    return trace


def _make_layout(chart: Chart) -> go.Layout:
    layout = go.Layout(
        font=_FONT,
        margin={"l": 50, "r": 12, "t": 8, "b": 36},
        hovermode="x unified" if len(chart.curves) < 12 else "closest",
        hoverlabel={"namelength": 40},
        plot_bgcolor="#fff",
        paper_bgcolor="#fff",
        xaxis={**_GRID, "title": {"text": "step", "standoff": 4}},
        yaxis=_GRID,
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0, "traceorder": "normal"},
    )
    if chart.is_stacked:
        layout.update(yaxis={"range": [0, 1], "tickformat": ".0%"}, margin={"t": 30})
    return layout

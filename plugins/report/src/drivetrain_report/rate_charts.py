"""Schedules laid over each other, as a picture or a page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import plotly.graph_objects as go
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from drivetrain_report.colors import color_of_run
from drivetrain_report.page import MARK
from drivetrain_report.picture import as_plain_text, save_picture
from drivetrain_report.rates import Rates

_MOST_POINTS = 4000


def save_as_picture(found: Sequence[Rates], file: str) -> None:
    """Draw them with matplotlib into a PNG file."""
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for position, rates in enumerate(found):
        label = as_plain_text(rates.title)
        axes.plot(*_points(rates), color=color_of_run(position), linewidth=1.8, label=label)
    axes.set_xlabel("update")
    axes.set_ylabel("learning rate")
    axes.grid(color="#e8e8e8")
    axes.legend(frameon=False)
    save_picture(figure, file)


def save_as_page(found: Sequence[Rates], file: str) -> None:
    """Draw them with plotly into an HTML file that loads nothing."""
    figure = go.Figure(layout={"template": "plotly_white", "hovermode": "x unified"})
    for position, rates in enumerate(found):
        steps, values = _points(rates)
        line = {"color": color_of_run(position)}
        figure.add_trace(go.Scatter(x=steps, y=values, name=rates.title, line=line, mode="lines"))
    figure.update_layout(xaxis_title="update", yaxis_title="learning rate", showlegend=True)
    config = {"displaylogo": False, "showSendToCloud": False, "plotlyServerURL": ""}
    text = figure.to_html(config=config, include_plotlyjs=True, full_html=True)
    Path(file).write_text(text.replace("<head>", f"<head>{MARK}", 1), "utf-8")


def _points(rates: Rates) -> tuple[list[int], list[float]]:
    """At most so many points that a browser draws them at once; the last and the peak are among them."""
    every = -(-len(rates.values) // _MOST_POINTS)
    wanted = {*range(0, len(rates.values), every), rates.peak_step - 1, len(rates.values) - 1}
    steps = sorted(wanted)
    return [step + 1 for step in steps], [rates.values[step] for step in steps]

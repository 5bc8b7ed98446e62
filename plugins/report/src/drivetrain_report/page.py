"""The report as one HTML file that loads nothing."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from typing import Any

from plotly.offline import get_plotlyjs

from drivetrain import __version__
from drivetrain_report import sections
from drivetrain_report.amounts import show_count, show_steps, show_time
from drivetrain_report.charts import Chart, Section, arrange
from drivetrain_report.figures import make_figure
from drivetrain_report.runs import RunRecord
from drivetrain_report.tables import show_run

MARK = '<meta name="generator" content="drivetrain report">'
"""What is in every page that this module made."""

_AXES = ("step", "epoch", "time")


def make_page(runs: Sequence[RunRecord]) -> str:
    """The page of one run, or of several laid over each other."""
    arranged = arrange(runs)
    title = ", ".join(run.name for run in runs)
    scripts = [get_plotlyjs(), _read("page.js")]
    body = [
        f"<header><h1>{escape(title)}</h1>{_show_sources(runs)}</header>",
        _show_bar(runs),
        f"<main>{_show_top(runs)}{_show_charts(arranged)}{_show_bottom(runs)}</main>",
        f'<script id="figures" type="application/json">{_encode(arranged, runs)}</script>',
        *(f"<script>{script}</script>" for script in scripts),
    ]
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">{MARK}{_show_policy(scripts)}'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_read('page.css')}</style></head>\n"
        f"<body>{''.join(body)}</body></html>\n"
    )


def _read(name: str) -> str:
    return files("drivetrain_report").joinpath(name).read_text("utf-8")


def _show_policy(scripts: Sequence[str]) -> str:
    """Nothing is loaded from anywhere, and no script runs but those of the page."""
    hashes = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{found}'" for found in hashes)
    policy = (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )
    return f'<meta http-equiv="Content-Security-Policy" content="{policy}">'


def _encode(arranged: Sequence[Section], runs: Sequence[RunRecord]) -> str:
    names = [run.name for run in runs]
    figures = [make_figure(chart, names) for section in arranged for chart in section.charts]
    text = json.dumps(figures, allow_nan=False, separators=(",", ":"), default=_as_list)
    return text.replace("<", "\\u003c")


def _as_list(value: Any) -> list[Any]:
    """Plotly gives some lists back as arrays."""
    return list(value)


def _show_sources(runs: Sequence[RunRecord]) -> str:
    sources = "".join(f'<p class="soft">{escape(str(run.source.resolve()))}</p>' for run in runs)
    return f'{sources}<p class="soft">drivetrain {__version__}, {show_time(time.time())}</p>'


def _show_bar(runs: Sequence[RunRecord]) -> str:
    chips = "".join(
        f'<button class="run" data-run="{i}" aria-pressed="true" title="Click: hide or show. Double click: '
        f'this one alone.">{show_run(i, run.name)}</button>'
        for i, run in enumerate(runs)
    )
    axes = "".join(
        f'<button data-axis="{axis}" aria-pressed="{str(axis == "step").lower()}">{axis}</button>'
        for axis in _AXES
        if axis == "step" or _has_axis(axis, runs)
    )
    return (
        f'<div class="bar"><div><div class="runs">{chips}</div><div class="switch">{axes}</div>'
        '<label>smoothing <input id="smoothing" type="range" min="0" max="0.99" step="0.01" value="0">'
        '<output id="weight">0.00</output></label>'
        '<label><input id="logarithmic" type="checkbox"> logarithmic</label></div></div>'
    )


def _has_axis(axis: str, runs: Sequence[RunRecord]) -> bool:
    """Whether any curve can be drawn over epochs, or times."""
    every = (series for run in runs for series in run.logged.series.values())
    return any(x is not None for series in every for x in getattr(series, f"{axis}s"))


def _show_top(runs: Sequence[RunRecord]) -> str:
    return (
        f"<h2>Overview</h2>{sections.show_overview(runs)}"
        f"<h2>What went wrong</h2>{sections.show_troubles(runs)}"
    )


def _show_charts(arranged: Sequence[Section]) -> str:
    if not arranged:
        return '<h2>Curves</h2><div class="card soft">No number was logged.</div>'
    blocks, number = [], 0
    for section in arranged:
        charts = []
        for chart in section.charts:
            charts.append(_show_chart(chart, number))
            number += 1
        blocks.append(f'<h2>{section.title}</h2><div class="charts">{"".join(charts)}</div>')
    return "".join(blocks)


def _show_chart(chart: Chart, number: int) -> str:
    wide = " wide" if number == 0 else ""
    labels = list(dict.fromkeys((c.label, c.is_second) for c in chart.curves if c.label))
    legend = ", ".join(f"{'thick' if is_second else 'thin'}: {label}" for label, is_second in labels)
    hint = f' <span class="soft">{legend}</span>' if len(labels) > 1 and not chart.is_stacked else ""
    return (
        f'<div class="chart{wide}"><h3>{escape(chart.title)}{hint}</h3>'
        f'<div class="plot" data-figure="{number}"></div>{_show_non_finite(chart)}</div>'
    )


def _show_non_finite(chart: Chart) -> str:
    steps = sorted(step for curve in chart.curves for step in curve.series.non_finite_steps())
    if not steps:
        return ""
    number = show_count(len(steps), "value is", "values are")
    return f'<p class="note">{number} not finite, and a gap: {show_steps(steps)}</p>'


def _show_bottom(runs: Sequence[RunRecord]) -> str:
    return (
        f"{sections.show_parts(runs)}{sections.show_media(runs)}"
        f"<h2>Checkpoints</h2>{sections.show_checkpoints(runs)}"
        f"<h2>Arguments</h2>{sections.show_arguments(runs)}"
        f"<h2>Versions</h2>{sections.show_versions(runs)}"
    )

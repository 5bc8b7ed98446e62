"""What a benchmark found, as tables for a terminal, a page, and figures for programs."""

from __future__ import annotations

import dataclasses
import datetime
import json
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from comparison import OURS, Comparison
from index import write_index
from picture import draw
from surroundings import describe_machine, find_versions

NOWHERE = "Nowhere in this run."


@dataclass(frozen=True)
class Report:
    """What one run of a benchmark found.

    Attributes:
        name: Of the benchmark.
        title: What it measures.
        quick: It was small and short, to see that it runs.
        command: What repeats it.
        date: Of the run, as in 2026-01-31.
        seconds: That it took.
        versions: By library.
        machine: In words.
        comparisons: Its figures.
    """

    name: str
    title: str
    quick: bool
    command: str
    date: str
    seconds: float
    versions: dict[str, str]
    machine: str
    comparisons: Sequence[Comparison]

    @classmethod
    def of(
        cls, name: str, title: str, quick: bool, seconds: float, comparisons: Sequence[Comparison]
    ) -> Report:
        """The report of a run that has just ended here."""
        command = f"python benchmarks {name}{' --quick' if quick else ''}"
        today = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
        machine = describe_machine()
        return cls(
            name, title, quick, command, today, round(seconds), find_versions(), machine, comparisons
        )


def print_report(report: Report) -> None:
    """Print the tables."""
    for comparison in report.comparisons:
        print(f"\n{comparison.title} ({comparison.unit})")
        has_ratios = any(row.ratio for row in rows_of(comparison))
        for row in rows_of(comparison):
            ratio = f"{row.ratio:>8}  {row.range:18}" if has_ratios else ""
            print(f"  {row.subject:34}{ratio}{row.figure:>12}")
        for line in closing_lines(comparison):
            print(f"  {line}")
    print("\nWhere drivetrain is behind:")
    print("\n".join(f"  {line}" for line in find_behind(report.comparisons)) or f"  {NOWHERE}")


def write_report(report: Report, folder: Path) -> None:
    """Write the page, the figures and the picture, and the index of all that are in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{report.name}.json").write_text(as_json(report), encoding="utf-8")
    (folder / f"{report.name}.md").write_text("\n".join(as_page(report)) + "\n", encoding="utf-8")
    draw(report.title, report.comparisons, folder / f"{report.name}.png")
    write_index(folder)


# -- tables -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """A line of a table, all of it text: empty where a thing cannot be said."""

    subject: str
    ratio: str
    range: str
    figure: str


def rows_of(comparison: Comparison) -> list[Row]:
    """A row for each subject."""
    return [
        Row(
            name,
            "" if (ratio := comparison.ratio(name)) is None else show_ratio(ratio),
            show_range(comparison.ratios(name)),
            show_figure(comparison.median(name)),
        )
        for name in comparison.values
    ]


def closing_lines(comparison: Comparison) -> Iterator[str]:
    """What stands below a table: the goal, what was left out, and how it was measured."""
    if comparison.goal is not None:
        verdict = {True: "reached", False: "NOT reached", None: "not measured"}[comparison.is_reached]
        yield f"Goal: {comparison.goal}: {verdict}."
    if comparison.missing:
        yield (
            "Left out: " + ", ".join(f"{name} ({why})" for name, why in comparison.missing.items()) + "."
        )
    if comparison.note:
        yield comparison.note


def show_ratio(ratio: float) -> str:
    """A ratio with as many digits as say something."""
    return f"{ratio:.3f}" if ratio < 2 else f"{ratio:.2f}" if ratio < 10 else f"{ratio:,.0f}"


def show_range(ratios: Sequence[float]) -> str:
    """The middle half of the rounds; empty for a single round."""
    if len(ratios) < 2:
        return ""
    low, _, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return f"{show_ratio(low)} to {show_ratio(high)}"


def show_figure(value: float) -> str:
    """A figure in its unit with four digits, or all of them before the point."""
    return f"{value:,.0f}" if abs(value) >= 1000 or value == 0 else f"{value:.4g}"


def find_behind(comparisons: Sequence[Comparison]) -> list[str]:
    """Goals that were missed, and peers that did better, a line each."""
    lines = []
    for one in comparisons:
        if one.is_reached is False:
            lines.append(f"{one.title}: {show_subject(one, OURS)}; the goal is {one.goal}.")
        lines += [
            f"{one.title}: {peer} is ahead, with {show_subject(one, peer)} to {show_subject(one, OURS)}."
            for peer in one.ahead
        ]
    return lines


def show_subject(comparison: Comparison, subject: str) -> str:
    """A subject's ratio; its figure where the goal is one, or where the reference is zero."""
    ratio = comparison.ratio(subject)
    if ratio is None or (comparison.goal is not None and comparison.goal.value is not None):
        return f"{show_figure(comparison.median(subject))} {comparison.unit}"
    return f"{show_ratio(ratio)} of {comparison.reference}"


# -- a page -----------------------------------------------------------------------------------------


def as_page(report: Report) -> Iterator[str]:
    """The lines of the page."""
    versions = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    yield f"# {report.title.rstrip('.')}"
    if report.quick:
        yield "\n**A quick run, to see that the benchmark works: its figures mean little.**"
    yield f"\n`{report.command}`, {report.date}, {report.seconds:,.0f} seconds. {versions}. {report.machine}."
    yield (
        "\nRatios are to the reference, whose own is 1; in the same round where there are several, and then "
        "their median, with the middle half of the rounds beside it."
    )
    yield f"\n![Ratios of all that was measured]({report.name}.png)"
    yield "\n## Where drivetrain is behind\n"
    yield from [f"- {line}" for line in find_behind(report.comparisons)] or [NOWHERE]
    for comparison in report.comparisons:
        yield f"\n## {comparison.title}\n"
        yield from as_table(comparison)
        for line in closing_lines(comparison):
            yield f"\n{line}"


def as_table(comparison: Comparison) -> Iterator[str]:
    """The lines of a table; without ratios where the reference is zero."""
    rows = rows_of(comparison)
    has_ratios = any(row.ratio for row in rows)
    if rows:
        ratios = f" of {comparison.reference} | middle half |" if has_ratios else ""
        yield f"| |{ratios} {comparison.unit} |"
        yield "|---|---:|---:|---:|" if has_ratios else "|---|---:|"
    for row in rows:
        name = f"**{row.subject}**" if row.subject == OURS else row.subject
        ratios = f" {row.ratio} | {row.range} |" if has_ratios else ""
        yield f"| {name} |{ratios} {row.figure} |"


# -- figures ----------------------------------------------------------------------------------------


def as_json(report: Report) -> str:
    """Everything, with what follows from the values beside them."""
    content = {
        **{field.name: getattr(report, field.name) for field in dataclasses.fields(report)},
        "comparisons": [describe(comparison) for comparison in report.comparisons],
        "behind": find_behind(report.comparisons),
    }
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def describe(comparison: Comparison) -> dict[str, Any]:
    """A comparison as JSON has it."""
    return {
        "title": comparison.title,
        "unit": comparison.unit,
        "reference": comparison.reference,
        "figures": {name: comparison.median(name) for name in comparison.values},
        "ratios": {name: comparison.ratio(name) for name in comparison.values},
        "goal": str(comparison.goal) if comparison.goal else None,
        "is_reached": comparison.is_reached,
        "note": comparison.note,
        "missing": dict(comparison.missing),
        "values": {
            name: [float(f"{one:.6g}") for one in values] for name, values in comparison.values.items()
        },
    }

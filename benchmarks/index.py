"""The table in the README of a folder of results: what was measured, what was promised, what came of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- begin: written by `python benchmarks` -->", "<!-- end -->"


def write_index(folder: Path) -> None:
    """Write the table between its two marks; where there is no README, one that is nothing else."""
    page = folder / "README.md"
    text = page.read_text(encoding="utf-8") if page.is_file() else f"# Benchmarks\n\n{BEGIN}\n{END}\n"
    results = [found for file in sorted(folder.glob("*.json")) if (found := read_result(file))]
    table = "\n".join([BEGIN, *index_of(results), END])
    marks = f"{re.escape(BEGIN)}.*?{re.escape(END)}"
    page.write_text(re.sub(marks, lambda _: table, text, flags=re.DOTALL), encoding="utf-8")


def read_result(file: Path) -> dict[str, Any]:
    """What a benchmark wrote; empty where the file is something else."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        return {}
    return found if isinstance(found, dict) and {"name", "date", "comparisons"} <= found.keys() else {}


def index_of(results: list[dict[str, Any]]) -> Iterator[str]:
    """The lines of the table: every comparison that has a goal."""
    yield "| what | reference | goal | drivetrain | reached | measured |"
    yield "|---|---|---|---:|---|---|"
    for result in results:
        for one in result["comparisons"]:
            if one["goal"]:
                link = f"[{one['title']}]({result['name']}.md)"
                reached = {True: "yes", False: "**no**", None: "not measured"}[one["is_reached"]]
                yield (
                    f"| {link} | {one['reference']} | {one['goal']} | {figure_of(one)} | {reached} | "
                    f"{result['date']} |"
                )


def figure_of(comparison: dict[str, Any]) -> str:
    """Drivetrain's figure, in the terms of the goal: a ratio, or the unit."""
    ours, reference = (
        comparison["figures"].get(name) for name in ("drivetrain", comparison["reference"])
    )
    if ours is None:
        return ""
    if "of the reference" in comparison["goal"]:
        return f"{comparison['ratios']['drivetrain']:.3f}"
    if "more than" in comparison["goal"]:
        return f"{ours - reference:.4g} {comparison['unit']} more"
    return f"{ours:.4g} {comparison['unit']}"

"""`drivetrain plugins`: every name that is installed."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict

from drivetrain.cli.states import OK, PluginState, read_states
from drivetrain.cli.tables import format_table, terminal_width
from drivetrain_registry import Kind, default_registry
from drivetrain_registry.catalogue import CATALOGUE
from drivetrain_registry.discovery import find_shadowed
from drivetrain_registry.families import is_pattern
from drivetrain_registry.kinds import find_kind

_HEADER = ("KIND", "NAME", "DISTRIBUTION", "VERSION", "STATE")
_HINT = "`drivetrain plugins show NAME` prints its options; `drivetrain doctor` loads each of them."


def list_plugins(kind_name: str | None, *, as_json: bool) -> int:
    """Print the table, or the same as JSON; return the exit status."""
    kind = find_kind(kind_name) if kind_name else None
    registry = default_registry()
    states = read_states(registry.entries(kind), registry.entries())
    if as_json:
        print(json.dumps([asdict(state) for state in states], indent=2))
    elif states:
        print("\n".join(_describe(states)))
    else:
        print(explain_empty(kind))
    return 0


def explain_empty(kind: Kind | None = None) -> str:
    """What to say and to type where nothing is installed."""
    known = {name for (k, _), name in CATALOGUE.items() if kind is None or k == kind}
    first = "drivetrain-torch" if "drivetrain-torch" in known else min(known, default="")
    what = f"No plugin of the kind {kind} is installed." if kind else "No plugins are installed."
    return f"{what} " + (
        f"Type: pip install {first}" if first else "`drivetrain plugins` lists the others."
    )


def explain_shadowed() -> list[str]:
    """A sentence for each distribution that is installed twice."""
    return [
        f"{found.distribution} is installed twice: {found.used[0]} in {found.used[1]} is used, "
        f"{found.hidden[0]} in {found.hidden[1]} is not. "
        f"Type: pip uninstall {found.distribution}, and install it once."
        for found in find_shadowed()
    ]


def _describe(states: list[PluginState]) -> list[str]:
    rows = [(s.kind, s.name, s.distribution, s.version, s.state) for s in states]
    lines = [*format_table(_HEADER, rows, terminal_width()), ""]
    problems = _explain_problems(states)
    problems += explain_shadowed()
    if problems:
        lines += [*problems, ""]
    families = dict.fromkeys(state.name for state in states if is_pattern(state.name))
    return [*lines, _count(states), *map(_explain_family, families), _HINT]


def _explain_family(pattern: str) -> str:
    return f"{pattern} stands for many names: `drivetrain plugins show {pattern!r}` lists them."


def _explain_problems(states: list[PluginState]) -> list[str]:
    """One line for each thing that is wrong, with every name that it concerns."""
    concerned: dict[tuple[str, str, str], list[str]] = {}
    for s in states:
        if s.state != OK:
            concerned.setdefault((s.state, f"{s.distribution} {s.version}", s.detail), []).append(s.name)
    return [
        f"{state}: {', '.join(names)} of {provider}. {detail}"
        for (state, provider, detail), names in concerned.items()
    ]


def _count(states: list[PluginState]) -> str:
    distributions = len({state.distribution for state in states})
    return (
        f"{count_of(len(states), 'name')} in {count_of(distributions, 'distribution')}: "
        f"{show_counts([state.state for state in states])}."
    )


def count_of(number: int, noun: str) -> str:
    """``1 name``, ``2 names``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def show_counts(words: list[str]) -> str:
    """``27 ok, 1 conflict``: the most frequent first."""
    return ", ".join(f"{number} {word}" for word, number in Counter(words).most_common())

"""`drivetrain doctor`: load every installed plugin in isolation and report."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from drivetrain.cli.plugins import count_of, explain_empty, explain_shadowed, show_counts
from drivetrain.cli.probing import Finding, probe_distribution
from drivetrain.cli.states import CONFLICT, LIBRARY_MISSING, OK, explain_conflict
from drivetrain.cli.tables import format_row
from drivetrain.cli.versions import read_versions
from drivetrain_registry import Entry, default_registry
from drivetrain_registry.families import is_pattern

BROKEN = "broken"


@dataclass(frozen=True)
class Diagnosis:
    """What `drivetrain doctor` says of one name.

    Attributes:
        state: ``ok``, ``conflict`` (it loads, but another distribution claims the name), ``library
            missing`` (a library that its distribution requires, or that it says it needs, is not there) or
            ``broken``.
        detail: What is wrong and what to type; empty if nothing is.
        seconds: How long loading it took.
        num_names: How many names it stands for: more than one for a family.
    """

    kind: str
    name: str
    distribution: str
    version: str
    state: str
    detail: str
    seconds: float
    num_names: int = 1


def examine(timeout: float, *, as_json: bool) -> int:
    """Load each plugin, print what came of it, and return the exit status: 1 if one is broken.

    Args:
        timeout: Seconds that loading one plugin may take.
        as_json: Print one JSON object at the end instead of a line at a time.
    """
    versions, notes = read_versions(), explain_shadowed()
    diagnoses = _diagnose_all(timeout)
    if as_json:
        found = list(diagnoses)
        print(json.dumps(_as_data(versions, found, notes), indent=2))
    else:
        print("\n".join(f"{name} {version}" for name, version in versions.items()), end="\n\n")
        found = list(_print_each(diagnoses))
        print("\n".join(_summarize(found, notes)))
    return int(any(diagnosis.state == BROKEN for diagnosis in found))


def _diagnose_all(timeout: float) -> Iterator[Diagnosis]:
    """Distribution by distribution, each in a process of its own."""
    everything = sorted(default_registry().entries(), key=lambda entry: entry.distribution)
    for distribution, entries in itertools.groupby(everything, lambda entry: entry.distribution):
        _show_progress(f"loading the plugins of {distribution} ...")
        for finding in probe_distribution(tuple(entries), timeout):
            yield _diagnose(finding, everything)
    _show_progress("")


def _diagnose(finding: Finding, everything: list[Entry]) -> Diagnosis:
    entry = finding.entry
    conflict = explain_conflict(entry, everything)
    states = {BROKEN: finding.detail, LIBRARY_MISSING: finding.missing, CONFLICT: conflict}
    state = next((state for state, said in states.items() if said), OK)
    return Diagnosis(
        kind=entry.kind.name,
        name=entry.name,
        distribution=entry.distribution,
        version=entry.version,
        state=state,
        detail=states.get(state, ""),
        seconds=finding.seconds,
        num_names=finding.num_names,
    )


def _print_each(diagnoses: Iterator[Diagnosis]) -> Iterator[Diagnosis]:
    """A line for each as soon as it is known: loading all of them takes a while."""
    entries = default_registry().entries()
    columns = [
        max((len(entry.kind.name) for entry in entries), default=0),
        max((len(entry.name) for entry in entries), default=0),
        max((len(entry.provider) for entry in entries), default=0),
        len(LIBRARY_MISSING),
        len("000.0 s"),
    ]
    for diagnosis in diagnoses:
        provider = f"{diagnosis.distribution} {diagnosis.version}"
        seconds = f"{diagnosis.seconds:.1f} s".rjust(columns[-1])
        cells = (diagnosis.kind, diagnosis.name, provider, diagnosis.state, seconds)
        _show_progress("")
        print(format_row(cells, columns))
        if diagnosis.detail:
            print(f"    {diagnosis.detail}")
        elif is_pattern(diagnosis.name):
            print(f"    a family of {count_of(diagnosis.num_names, 'name')}, all of which load")
        sys.stdout.flush()
        yield diagnosis


def _summarize(found: list[Diagnosis], notes: list[str]) -> list[str]:
    if not found:
        return [explain_empty()]
    distributions = len({diagnosis.distribution for diagnosis in found})
    counts = show_counts([diagnosis.state for diagnosis in found])
    return [
        "",
        *notes,
        f"{count_of(len(found), 'name')} in {count_of(distributions, 'distribution')}: {counts}.",
    ]


def _as_data(versions: dict[str, str], found: list[Diagnosis], notes: list[str]) -> dict[str, object]:
    return {
        "versions": versions,
        "plugins": [vars(diagnosis) for diagnosis in found],
        "notes": notes,
        "num_broken": sum(diagnosis.state == BROKEN for diagnosis in found),
    }


def _show_progress(text: str) -> None:
    """One line on the terminal that the next one overwrites; nothing where there is no terminal."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)

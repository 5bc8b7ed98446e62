"""Load the plugins of one distribution, one after another: what `drivetrain doctor` runs in a process.

``python -m drivetrain.cli.probe DIST`` writes one JSON object a line to standard output, each as soon
as it is known. What a plugin prints goes to standard error.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from typing import TextIO

from drivetrain.cli.inspection import (
    explain_wrong_kind,
    find_missing_methods,
    find_plugin_class,
    read_option_fields,
)
from drivetrain.cli.states import key_of
from drivetrain_registry import Entry, RegistryError, default_registry
from drivetrain_registry.loading import pip_line
from drivetrain_registry.messages import join
from drivetrain_registry.requirements import normalize


def main(argv: Sequence[str] | None = None) -> None:
    """Report on every entry of a distribution, or on those from a position on, and end the process."""
    parser = argparse.ArgumentParser(prog="python -m drivetrain.cli.probe", description=__doc__)
    parser.add_argument("distribution")
    parser.add_argument("--only", nargs="+", metavar="KIND/NAME", help="of these entries alone")
    args = parser.parse_args(argv)
    results = _take_standard_output()
    for entry in find_entries(args.distribution):
        if args.only is None or key_of(entry) in args.only:
            started = time.perf_counter()
            detail = find_fault(entry)
            line = {"key": key_of(entry), "detail": detail, "seconds": time.perf_counter() - started}
            print(json.dumps(line), file=results, flush=True)
    # A plugin's threads and exit handlers shall not hold up the report, or change it.
    os._exit(0)


def find_entries(distribution: str) -> list[Entry]:
    """The entries of a distribution, in the registry's order."""
    wanted = normalize(distribution)
    entries = default_registry().entries()
    return [entry for entry in entries if normalize(entry.distribution) == wanted]


def find_fault(entry: Entry) -> str:
    """Load a part and return what is wrong with it; empty if nothing is."""
    try:
        part = default_registry().load(entry.kind, entry.qualified_name).part
    except RegistryError as error:
        return error.explanation.removeprefix(f"is provided by {entry.provider}, which ")
    missing = entry.missing_requirements()
    if missing:
        needed = join(requirement.text for requirement in missing)
        return f"needs {needed}, which is not installed. Type: {pip_line(missing)}"
    try:
        return _find_fault_in_class(entry, part)
    except Exception as error:
        return f"raised {type(error).__name__} when it was asked for its options: {error}"


def _find_fault_in_class(entry: Entry, part: object) -> str:
    cls = find_plugin_class(entry.kind, part)
    if cls is None:
        return explain_wrong_kind(entry.kind, part)
    missing = find_missing_methods(entry.kind, cls)
    if missing:
        return f"leads to {cls.__name__}, which does not define {join(missing)}."
    read_option_fields(cls)
    return ""


def _take_standard_output() -> TextIO:
    """Keep the real standard output for the results; everyone else's goes to standard error."""
    sys.stdout.flush()
    results = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return results


if __name__ == "__main__":
    main()

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
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from drivetrain.cli.inspection import (
    explain_wrong_kind,
    find_missing_methods,
    find_plugin_class,
    read_option_fields,
)
from drivetrain.cli.states import explain_missing_libraries, find_missing_libraries, key_of
from drivetrain_registry import Entry, MissingLibraryError, RegistryError, default_registry
from drivetrain_registry.families import is_pattern
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
            line = {"key": key_of(entry), **examine_entry(entry)}
            line["seconds"] = time.perf_counter() - started
            print(json.dumps(line), file=results, flush=True)
    # A plugin's threads and exit handlers shall not hold up the report, or change it.
    os._exit(0)


def find_entries(distribution: str) -> list[Entry]:
    """The entries of a distribution, in the registry's order."""
    wanted = normalize(distribution)
    entries = default_registry().entries()
    return [entry for entry in entries if normalize(entry.distribution) == wanted]


def examine_entry(entry: Entry) -> dict[str, Any]:
    """Load a part, or all parts of a family.

    Returns:
        Under ``detail`` what is wrong with it, and empty if nothing is; under ``missing`` what else it
        needs on this machine; under ``num_names`` how many names it stands for.
    """
    try:
        parts = _load_parts(entry)
    except MissingLibraryError:
        return {"detail": "", "missing": _find_missing(entry), "num_names": 1}
    except RegistryError as error:
        detail = error.explanation.removeprefix(f"is provided by {entry.provider}, which ")
        return {"detail": detail, "missing": "", "num_names": 1}
    faults = (_find_fault(entry, name, part) for name, part in parts.items())
    detail = next(filter(None, faults), "")
    if not parts:
        detail = "is a family without a name in it. Tell its authors."
    missing = "" if detail else _find_missing(entry) or _find_missing_libraries(entry, parts)
    return {"detail": detail, "missing": missing, "num_names": len(parts)}


def _load_parts(entry: Entry) -> dict[str, object]:
    registry = default_registry()
    if not is_pattern(entry.name):
        return {entry.name: registry.load(entry.kind, entry.qualified_name).part}
    family = registry.load_family(entry.kind, entry.qualified_name)
    names = family.names(entry.kind.option, entry.name)
    return {name: registry.load(entry.kind, f"{entry.distribution}:{name}").part for name in names}


def _find_missing(entry: Entry) -> str:
    missing = entry.missing_requirements()
    needed = join(requirement.text for requirement in missing)
    return f"needs {needed}, which is not installed. Type: {pip_line(missing)}" if missing else ""


def _find_missing_libraries(entry: Entry, parts: Mapping[str, object]) -> str:
    """What the parts need that their distribution does not require."""
    missing: dict[str, str] = {}
    for part in parts.values():
        missing |= find_missing_libraries(find_plugin_class(entry.kind, part) or object)
    return explain_missing_libraries(missing)


def _find_fault(entry: Entry, name: str, part: object) -> str:
    prefix = f"{name}: " if name != entry.name else ""
    try:
        fault = _find_fault_in_class(entry, part)
    except Exception as error:
        fault = f"raised {type(error).__name__} when it was asked for its options: {error}"
    return prefix + fault if fault else ""


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

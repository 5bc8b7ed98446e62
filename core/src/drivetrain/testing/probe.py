"""Find and load the plugins of one distribution in a fresh process, and note what that did besides.

``python -m drivetrain.testing.probe DIST FILE`` writes a JSON object to FILE; see `Findings`. Nothing is
imported here that the kit is about: torch and the plugin come when it is their turn.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from drivetrain_registry import Entry, RegistryError, default_registry
from drivetrain_registry.families import is_pattern
from drivetrain_registry.requirements import normalize

_CONTACTS = frozenset({"socket.connect", "socket.getaddrinfo", "socket.sendto", "urllib.Request"})
"""Events of Python's auditing that mean a look at the network."""


@dataclass
class Findings:
    """What happened while a distribution's names were listed, and then loaded.

    Attributes:
        listing_imported: Modules that listing the names imported, of those that it has to do without.
        errors: By kind and name: why a name could not be loaded.
        output: What was written to standard output and error.
        logging_changed: What became of the root logger.
        contacted: Addresses that were looked up or connected to.
        dtype: What became of torch's default dtype.
        other_plugins: Modules of other distributions' plugins that were imported.
    """

    listing_imported: list[str] = field(default_factory=list)
    errors: dict[str, str] = field(default_factory=dict)
    output: str = ""
    logging_changed: str = ""
    contacted: list[str] = field(default_factory=list)
    dtype: str = ""
    other_plugins: list[str] = field(default_factory=list)


def main(distribution: str, file: str) -> None:
    """Write the findings about a distribution to a file, and end the process."""
    Path(file).write_text(json.dumps(asdict(examine(distribution))), encoding="utf-8")
    os._exit(0)  # a plugin's threads and exit handlers shall not hold up the report


def examine(distribution: str) -> Findings:
    """List the names, then load those of the distribution."""
    findings = Findings()
    entries = default_registry().entries()
    own = [entry for entry in entries if normalize(entry.distribution) == normalize(distribution)]
    packages = {_package_of(entry) for entry in own}
    _list_names(own)
    findings.listing_imported = sorted({"torch", *packages} & set(sys.modules))
    importlib.import_module("torch")
    importlib.import_module("drivetrain.plugin")
    _load(own, findings)
    others = {_package_of(entry) for entry in entries} - packages - {"", "drivetrain"}
    findings.other_plugins = sorted(others & set(sys.modules))
    return findings


def _list_names(own: list[Entry]) -> None:
    from drivetrain.cli import main as command

    with contextlib.redirect_stdout(io.StringIO()):
        command(["plugins"])
    for entry in own:
        default_registry().resolve(entry.kind, entry.qualified_name)


def _load_one(entry: Entry) -> None:
    if is_pattern(entry.name):
        default_registry().load_family(entry.kind, entry.qualified_name)
    else:
        default_registry().load(entry.kind, entry.qualified_name)


def _load(own: list[Entry], findings: Findings) -> None:
    import torch

    before, dtype = _describe_logging(), torch.get_default_dtype()
    is_over = False

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        if event in _CONTACTS and not is_over:
            findings.contacted.append(
                f"{event} {arguments[-1] if event == 'socket.connect' else arguments[0]}"
            )

    sys.addaudithook(note)
    with _output_kept() as output:
        for entry in own:
            try:
                _load_one(entry)
            except RegistryError as error:
                findings.errors[f"{entry.kind}/{entry.name}"] = str(error)
    is_over = True
    findings.output = output.read_text(encoding="utf-8", errors="replace")
    if _describe_logging() != before:
        findings.logging_changed = f"{before} became {_describe_logging()}"
    if torch.get_default_dtype() != dtype:
        findings.dtype = f"{dtype} became {torch.get_default_dtype()}"


@contextlib.contextmanager
def _output_kept() -> Iterator[Path]:
    """Send what this process writes to a file, what libraries in C write among it."""
    file = Path(tempfile.mkdtemp(), "output.txt")
    kept = [os.dup(1), os.dup(2)]
    with open(file, "wb") as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
        try:
            yield file
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for number, copy in enumerate(kept, 1):
                os.dup2(copy, number)


def _describe_logging() -> str:
    root = logging.getLogger()
    return f"level {logging.getLevelName(root.level)}, {len(root.handlers)} handlers"


def _package_of(entry: Entry) -> str:
    return entry.module.partition(".")[0]


if __name__ == "__main__":
    main(*sys.argv[1:])

"""`drivetrain plugins show 'po_*'`: the names of a family, a line each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from drivetrain.cli.inspection import find_plugin_class, first_paragraph
from drivetrain.cli.tables import format_table, terminal_width
from drivetrain_registry import Kind, NamedFamily, default_registry

_LONGEST_SUMMARY = 100


@dataclass(frozen=True)
class FamilyPage:
    """What is printed of one family.

    Attributes:
        members: Each name, and the first paragraph of what is behind it.
    """

    kind: str
    name: str
    distribution: str
    version: str
    code: str
    members: dict[str, str]


def print_families(kinds: Sequence[Kind], name: str, *, as_json: bool) -> int:
    """Print the page of a pattern, one for each kind that has it; return the exit status.

    Raises:
        RegistryError: There is no such family, or it cannot be loaded.
    """
    pages = [_read_page(kind, name) for kind in kinds]
    if as_json:
        print(json.dumps([asdict(page) for page in pages], indent=2))
    else:
        print("\n\n".join("\n".join(_describe(page)) for page in pages))
    return 0


def _read_page(kind: Kind, name: str) -> FamilyPage:
    family = default_registry().load_family(kind, name)
    entry = family.entry
    return FamilyPage(
        kind=kind.name,
        name=family.pattern,
        distribution=entry.distribution if entry else "",
        version=entry.version if entry else "",
        code=entry.value if entry else "",
        members=_summarize(family),
    )


def _summarize(family: NamedFamily) -> dict[str, str]:
    option = family.kind.option
    parts = {name: family.find(option, name) for name in family.names(option, family.pattern)}
    return {
        name: first_paragraph(find_plugin_class(family.kind, part) or part)
        for name, part in parts.items()
    }


def _describe(page: FamilyPage) -> list[str]:
    origin = f"{page.distribution} {page.version}" if page.distribution else "code that is not packaged"
    rows = [(name, _shorten(summary)) for name, summary in page.members.items()]
    return [
        f"{page.kind}s {page.name}: {len(page.members)} names",
        f"  from      {origin}",
        f"  code      {page.code}",
        "",
        *format_table(("NAME", ""), rows, terminal_width()),
        "",
        "`drivetrain plugins show NAME` prints the options of one.",
    ]


def _shorten(summary: str) -> str:
    """Its first sentence, unless that is long."""
    sentence = summary.partition(". ")[0].rstrip(".")
    return sentence if len(sentence) <= _LONGEST_SUMMARY else f"{sentence[: _LONGEST_SUMMARY - 3]}..."

"""What is installed, read from metadata alone: no plugin is imported to learn its name."""

from __future__ import annotations

import functools
import importlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata

from drivetrain_registry.kinds import KINDS, Kind
from drivetrain_registry.requirements import Requirement, normalize, read_fields, read_requirements

_GROUPS = {kind.group: kind for kind in KINDS}
_VALUE = r"(?P<module>\w+(\.\w+)*)\s*(:\s*(?P<attribute>\w+(\.\w+)*))?\s*(\[.*\])?$"


class InvalidEntryError(Exception):
    """An entry point that leads to nothing: it has no ``module:attribute``, or no such attribute."""


@dataclass(frozen=True)
class Entry:
    """One name that an installed distribution offers.

    Attributes:
        kind: The kind of part.
        name: The name that users type.
        value: Where the part is: ``package.module:attribute``.
        distribution: The distribution that offers it, as pip knows it.
        version: That distribution's version.
    """

    kind: Kind
    name: str
    value: str
    distribution: str
    version: str

    @property
    def qualified_name(self) -> str:
        """The name that is unambiguous even if another distribution offers the same."""
        return f"{self.distribution}:{self.name}"

    @property
    def provider(self) -> str:
        """Distribution and version, as messages give them."""
        return f"{self.distribution} {self.version}"

    @property
    def module(self) -> str:
        """The module that `value` names; empty if it names none."""
        match = re.match(_VALUE, self.value)
        return match["module"] if match else ""

    def load(self) -> object:
        """Import the module and return the attribute. Whatever the module raises is let through.

        Raises:
            InvalidEntryError: `value` has another form, or the module has no such attribute.
        """
        match = re.match(_VALUE, self.value)
        if not match:
            raise InvalidEntryError(f"its entry point is {self.value!r}, which is no 'module:attribute'")
        module = importlib.import_module(match["module"])
        attributes = match["attribute"].split(".") if match["attribute"] else []
        try:
            return functools.reduce(getattr, attributes, module)
        except AttributeError as error:
            raise InvalidEntryError(f"its entry point leads to {self.value!r}, and {error}") from error

    def missing_requirements(self) -> tuple[Requirement, ...]:
        """Requirements of the distribution that are not installed, in the order of its metadata.

        Those with a condition (an extra, a platform) are left out: whether they are wanted cannot
        be told from here.
        """
        return tuple(r for r in read_requirements(self.distribution) if not r.is_installed())


@dataclass(frozen=True)
class Shadowed:
    """A distribution that is installed a second time, where imports do not reach it.

    Attributes:
        distribution: Its name.
        used: The version that counts, and the folder that it is in.
        hidden: The version that does not, and its folder.
    """

    distribution: str
    used: tuple[str, str]
    hidden: tuple[str, str]


def discover() -> tuple[Entry, ...]:
    """Every name that installed distributions offer, by kind, then name, then distribution.

    One scan of the metadata of what is on ``sys.path``. Where a distribution is there twice the first
    counts, as it does for imports, even if it offers less. A distribution whose metadata cannot be
    read is passed over, as pip does.
    """
    names = {normalize(name): name for name, _ in _find_providers()}
    return sort_entries(entry for name in names.values() for entry in _entries_of(name))


def find_shadowed() -> tuple[Shadowed, ...]:
    """The distributions with drivetrain's entry points that are installed more than once."""
    found: dict[Shadowed, None] = {}
    for name, distribution in _find_providers():
        used = _first_of(name)
        if used is not None and _place_of(used) != _place_of(distribution):
            found[Shadowed(name, _place_of(used), _place_of(distribution))] = None
    return tuple(found)


def sort_entries(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """Order entries by kind, name and distribution."""
    order = {kind: position for position, kind in enumerate(KINDS)}
    return tuple(sorted(entries, key=lambda e: (order[e.kind], e.name, normalize(e.distribution))))


def _find_providers() -> Iterator[tuple[str, metadata.Distribution]]:
    """Distributions that have one of our groups, by name; each time that one is on ``sys.path``.

    Only what mentions drivetrain is parsed: the rest of an environment costs one read a distribution.
    """
    for distribution in metadata.distributions():
        text = _read_entry_points(distribution)
        if "drivetrain." not in text or not any(_parse_entry_points(text)):
            continue
        name = _read_field(distribution, "Name")
        if name:
            yield name, distribution


def _first_of(name: str) -> metadata.Distribution | None:
    """The distribution that imports reach; None for the rests that an interrupted pip leaves."""
    try:
        return metadata.distribution(name)
    except (metadata.PackageNotFoundError, ValueError):
        return None


def _entries_of(name: str) -> Iterator[Entry]:
    distribution = _first_of(name)
    if distribution is None:
        return
    version = _version_of(distribution)
    found: dict[tuple[Kind, str], str] = {}
    for kind, entry_name, value in _parse_entry_points(_read_entry_points(distribution)):
        found.setdefault((kind, entry_name), value)
    for (kind, entry_name), value in found.items():
        yield Entry(kind, entry_name, value, name, version)


def _read_entry_points(distribution: metadata.Distribution) -> str:
    try:
        return distribution.read_text("entry_points.txt") or ""
    except (OSError, UnicodeError):  # one unreadable file does not take the others' names away
        return ""


def _parse_entry_points(text: str) -> Iterator[tuple[Kind, str, str]]:
    """The lines of our groups. One without ``=`` gets an empty value: it is reported when it is named."""
    kind: Kind | None = None
    for line in map(str.strip, text.splitlines()):
        if line.startswith("[") and line.endswith("]"):
            kind = _GROUPS.get(line[1:-1].strip())
        elif kind and line and line[0] not in "#;":
            name, _, value = line.partition("=")
            yield kind, name.strip(), value.strip()


def _place_of(distribution: metadata.Distribution) -> tuple[str, str]:
    return _version_of(distribution), str(distribution.locate_file(""))


def _version_of(distribution: metadata.Distribution) -> str:
    return _read_field(distribution, "Version") or "of unknown version"


def _read_field(distribution: metadata.Distribution, field: str) -> str:
    """A field of the metadata; empty where it is not there, or the file is not or not readable."""
    try:
        return next(iter(read_fields(distribution, field)), "")
    except (OSError, UnicodeError, TypeError):
        return ""

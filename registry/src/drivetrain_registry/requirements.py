"""What a distribution requires, and whether it is there."""

from __future__ import annotations

import re
from importlib import metadata
from typing import NamedTuple

_REQUIREMENT = r"""\s*
    (?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)\s*
    (?P<extras>\[[^]]*\])?\s*
    \(?(?P<specifier>[^;)]*)\)?\s*
    (?P<condition>;.*)?$"""
"""A verbose pattern. `re` compiles it when it is first matched: most runs match none."""


class Requirement(NamedTuple):
    """One line of a distribution's requirements.

    Attributes:
        name: The distribution asked for.
        text: What to hand to pip: ``galore-torch>=1.0``.
    """

    name: str
    text: str

    def is_installed(self) -> bool:
        """Whether some version of it is there; which one is pip's business."""
        try:
            metadata.distribution(self.name)
        except metadata.PackageNotFoundError:
            return False
        return True


def normalize(distribution: str) -> str:
    """Distribution names compare by their normalized form (PyPA name normalization)."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def read_fields(distribution: metadata.Distribution, name: str) -> list[str]:
    """The values of a field of a distribution's metadata.

    ``distribution.metadata`` parses the description below the fields, too: a whole README, at every access.
    """
    files = ("METADATA", "PKG-INFO", "")  # the last is for an egg that is one file
    text = next(filter(None, map(distribution.read_text, files)), "")
    head = re.sub(r"\n[ \t]+", " ", text.partition("\n\n")[0])  # lines that go on
    return re.findall(rf"^{name}:[ \t]*(.*?)[ \t]*$", head, re.IGNORECASE | re.MULTILINE)


def read_requirements(distribution: str) -> tuple[Requirement, ...]:
    """The unconditional requirements in a distribution's metadata; none if it is not installed."""
    try:
        installed = metadata.distribution(distribution)
    except metadata.PackageNotFoundError:
        return ()
    # What has no such lines may be an egg, which keeps them elsewhere.
    lines = read_fields(installed, "Requires-Dist") or installed.requires or []
    found = (_parse(line) for line in lines)
    return tuple(requirement for requirement in found if requirement)


def _parse(line: str) -> Requirement | None:
    match = re.match(_REQUIREMENT, line, re.VERBOSE)
    if match is None or match["condition"]:
        return None
    specifier = re.sub(r"\s+", "", match["specifier"])
    return Requirement(match["name"], match["name"] + (match["extras"] or "") + specifier)

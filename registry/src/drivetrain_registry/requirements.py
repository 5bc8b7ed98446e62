"""What a distribution requires, and whether it is there."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import metadata

_REQUIREMENT = re.compile(
    r"""\s*
    (?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)\s*
    (?P<extras>\[[^]]*\])?\s*
    \(?(?P<specifier>[^;)]*)\)?\s*
    (?P<condition>;.*)?$""",
    re.VERBOSE,
)


@dataclass(frozen=True)
class Requirement:
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


def read_requirements(distribution: str) -> tuple[Requirement, ...]:
    """The unconditional requirements in a distribution's metadata; none if it is not installed."""
    try:
        lines = metadata.requires(distribution) or []
    except metadata.PackageNotFoundError:
        return ()
    found = (_parse(line) for line in lines)
    return tuple(requirement for requirement in found if requirement)


def _parse(line: str) -> Requirement | None:
    match = _REQUIREMENT.match(line)
    if match is None or match["condition"]:
        return None
    specifier = re.sub(r"\s+", "", match["specifier"])
    return Requirement(match["name"], match["name"] + (match["extras"] or "") + specifier)

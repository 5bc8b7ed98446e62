"""The distributions of this repository, read from their `pyproject.toml`."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Project:
    """One distribution.

    Attributes:
        folder: Where its `pyproject.toml` is.
        name: What pip calls it.
        version: Its version.
        package: The package that it holds, or None if it holds no code.
        requirements: What it cannot do without, as lines that pip reads.
    """

    folder: Path
    name: str
    version: str
    package: str | None
    requirements: tuple[str, ...]

    @property
    def wheel(self) -> str:
        """The file name of its wheel."""
        return f"{self.name.replace('-', '_')}-{self.version}-py3-none-any.whl"


def read_toml(file: Path) -> dict[str, Any]:
    """Read a TOML file."""
    return tomllib.loads(file.read_text(encoding="utf-8"))


def read_project(folder: Path) -> Project:
    """Read the distribution in a folder."""
    settings = read_toml(folder / "pyproject.toml")
    project = settings["project"]
    packages = settings["tool"]["hatch"]["build"]["targets"]["wheel"].get("packages", [])
    package = Path(packages[0]).name if packages else None
    requirements = tuple(project.get("dependencies", ()))
    return Project(folder, project["name"], project["version"], package, requirements)


def find_projects() -> list[Project]:
    """Every distribution of the repository."""
    patterns = (
        "pyproject.toml",
        "*/pyproject.toml",
        "plugins/*/pyproject.toml",
        "contrib/*/pyproject.toml",
    )
    files = (file for pattern in patterns for file in sorted(REPOSITORY.glob(pattern)))
    return [read_project(file.parent) for file in files]

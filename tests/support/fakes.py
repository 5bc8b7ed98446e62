"""Distributions that are written by hand: what pip would leave behind, with whatever is wrong in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path


def plant_distribution(
    site_packages: Path,
    name: str,
    version: str,
    *,
    source: str,
    entry_points: Mapping[str, Mapping[str, str]],
    requires: Sequence[str] = (),
) -> None:
    """Put a distribution of one module into an environment.

    Args:
        site_packages: Where to.
        name: What pip calls it; its module is called the same, with underscores.
        version: Its version.
        source: The module's text.
        entry_points: By group, names and what they lead to.
        requires: Its requirements.
    """
    module = name.replace("-", "_")
    (site_packages / f"{module}.py").write_text(source, encoding="utf-8")
    info = site_packages / f"{module}-{version}.dist-info"
    info.mkdir()
    metadata = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    metadata += [f"Requires-Dist: {requirement}" for requirement in requires]
    (info / "METADATA").write_text("\n".join(metadata) + "\n", encoding="utf-8")
    lines = []
    for group, names in entry_points.items():
        lines += [f"[{group}]", *(f"{entry} = {value}" for entry, value in names.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")

"""Versions of what a report should name, read from metadata: nothing is imported."""

from __future__ import annotations

import platform
from importlib import metadata

from drivetrain_registry import default_registry

_OURS = ("drivetrain", "drivetrain-core", "drivetrain-registry")


def read_versions() -> dict[str, str]:
    """Versions of Python, torch and every distribution of drivetrain, by name; what is there."""
    plugins = dict.fromkeys(entry.distribution for entry in default_registry().entries())
    versions = {"python": platform.python_version()}
    for distribution in ("torch", *_OURS, *sorted(plugins)):
        try:
            versions[distribution] = metadata.version(distribution)
        except metadata.PackageNotFoundError:
            if distribution == "torch":
                versions["torch"] = "not installed"
    return versions

"""Which versions a run is made with, for reporters to note."""

from __future__ import annotations

import sys

from drivetrain_registry import default_registry


def read_versions() -> dict[str, str]:
    """Versions of Python, torch, drivetrain and each distribution that a part of it was imported from.

    What is imported already is looked at, and no file: it takes a fraction of a millisecond.
    """
    from drivetrain import __version__

    versions = {"python": sys.version.split()[0]}
    torch = sys.modules.get("torch")
    if torch is not None:
        versions["torch"] = str(torch.__version__)
    versions["drivetrain"] = __version__
    for entry in default_registry().entries():
        if entry.distribution not in versions and entry.module in sys.modules:
            versions[entry.distribution] = entry.version
    return versions

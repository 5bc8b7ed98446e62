"""Libraries that reporters send with."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator


def find_missing_library(name: str, module: str, requirement: str) -> Iterator[str]:
    """A message, for `Plugin.problems`, if a library is not installed; it is not imported for that.

    Args:
        name: The reporter that needs it.
        module: What is imported: ``comet_ml``.
        requirement: What ``pip install`` is told: ``comet-ml``.
    """
    if sys.modules.get(module) is None and not _is_there(module):
        yield f"`report_to`: {name!r} needs its library. Type: pip install {requirement}"


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # not even the package that it is in
        return False

"""Modules that are imported when they are used, where a run may do without them.

Reading a checkpoint, say, takes a dozen modules that a run from the beginning never needs. What it buys is
in `benchmarks/startup.py`: objects that are not made are not looked through by the garbage collector, either.
"""

from __future__ import annotations

import importlib
from typing import Any


class Later:
    """Stands for a module until something of it is asked for, which imports it.

    Args:
        name: The module's whole name.

    Example:
        >>> if TYPE_CHECKING:
        ...     from drivetrain.checkpoint import resuming
        ... else:
        ...     resuming = Later("drivetrain.checkpoint.resuming")
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("__"):  # what inspecting objects asks for; it is no reason to import
            raise AttributeError(attribute)
        return getattr(importlib.import_module(self._name), attribute)

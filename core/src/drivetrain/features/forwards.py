"""Putting another forward in the place of a module's own, and taking it out again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn


class ReplacedForward:
    """Another forward for one module: what calls the module gets it, hooks of the module included.

    No parameter gets another name, and the module stays the object that it was.

    Attributes:
        original: The forward that was there before.
    """

    def __init__(self, module: nn.Module, forward: Callable[..., Any]) -> None:
        self._module = module
        self._earlier = vars(module).get("forward")  # one that someone else put there
        self.original: Callable[..., Any] = module.forward
        module.forward = forward

    def restore(self) -> None:
        """Put back what was there."""
        if self._earlier is None:
            del self._module.forward
        else:
            self._module.forward = self._earlier

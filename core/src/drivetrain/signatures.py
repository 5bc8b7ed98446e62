"""Calling methods that users override, with any of the signatures that were ever published."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import lru_cache
from typing import Any


@lru_cache(maxsize=256)
def _accepted(function: Callable[..., Any]) -> frozenset[str] | None:
    """The parameters' names; None if any keyword is taken."""
    parameters = inspect.signature(function).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return None
    return frozenset(parameter.name for parameter in parameters)


def accepts(function: Callable[..., Any], name: str) -> bool:
    """Whether a function takes a keyword.

    A subclass written for an earlier signature, such as ``compute_loss(self, model, inputs)``, is not
    handed what it does not know.
    """
    accepted = _accepted(getattr(function, "__func__", function))
    return accepted is None or name in accepted

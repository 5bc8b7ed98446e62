"""Calling methods that users override, with any of the signatures that were ever published."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

_known: WeakKeyDictionary[Callable[..., Any], frozenset[str] | None] = WeakKeyDictionary()
"""Parameters of functions that were asked about; weak, for a method holds on to what it closes over."""


def accepts(function: Callable[..., Any], name: str) -> bool:
    """Whether a function takes a keyword.

    A subclass written for an earlier signature, such as ``compute_loss(self, model, inputs)``, is not
    handed what it does not know.
    """
    plain = getattr(function, "__func__", function)
    if plain not in _known:
        _known[plain] = _parameters_of(plain)
    accepted = _known[plain]
    return accepted is None or name in accepted


def _parameters_of(function: Callable[..., Any]) -> frozenset[str] | None:
    """The parameters' names; None if any keyword is taken."""
    parameters = inspect.signature(function).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return None
    return frozenset(parameter.name for parameter in parameters)

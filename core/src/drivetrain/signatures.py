"""Calling methods that users override, with any of the signatures that were ever published."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

_known: WeakKeyDictionary[Callable[..., Any], frozenset[str] | None] = WeakKeyDictionary()
"""Parameters of functions that were asked about; weak, for a method holds on to what it closes over."""


_UNKNOWN: frozenset[str] = frozenset(["not asked about yet"])


def accepts(function: Callable[..., Any], name: str) -> bool:
    """Whether a function takes a keyword.

    A subclass written for an earlier signature, such as ``compute_loss(self, model, inputs)``, is not
    handed what it does not know.
    """
    plain = getattr(function, "__func__", function)
    accepted = _known.get(plain, _UNKNOWN)
    if accepted is _UNKNOWN:
        accepted = _known[plain] = _parameters_of(plain)
    return accepted is None or name in accepted


def _parameters_of(function: Callable[..., Any]) -> frozenset[str] | None:
    """The parameters' names; None if any keyword is taken."""
    parameters = inspect.signature(function).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return None
    return frozenset(parameter.name for parameter in parameters)


def accepted(function: Callable[..., Any], **keywords: Any) -> dict[str, Any]:
    """Those of the keywords that a function takes: a subclass may be written for an earlier signature."""
    return {name: value for name, value in keywords.items() if accepts(function, name)}


def names_parameter(function: Callable[..., Any], name: str) -> bool:
    """Whether a function has a parameter of that name: ``**kwargs`` may do nothing with what it takes."""
    return name in inspect.signature(function).parameters


def is_overridden(instance: object, base: type, name: str) -> bool:
    """Whether the class of an instance has a method of its own where ``base`` has one, too."""
    return getattr(type(instance), name) is not getattr(base, name) or name in vars(instance)

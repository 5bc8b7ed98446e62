"""Other values of an option than the one that holds, made from that and from the option's type."""

from __future__ import annotations

import math
import types
from collections.abc import Iterator
from enum import Enum
from typing import Any, Literal, Union, get_args, get_origin

from drivetrain.signature_options import Default


def other_values(value: Any, hint: Any) -> Iterator[Any]:
    """Values that an option of this type may have in place of this one; none where nothing can be guessed.

    Args:
        value: What holds. A text or an object has no others, unless the type lists them.
        hint: The option's type.
    """
    held = value.value if isinstance(value, Default) else value
    listed = [member for member in _members_of(hint) if member is not None and member != held]
    yield from listed
    if not listed:
        yield from _from_types(hint) if held is None else _perturb(held)


def _members_of(hint: Any) -> list[Any]:
    """The values that a type lists, which a Literal does and an Enum."""
    if get_origin(hint) is Literal:
        return list(get_args(hint))
    if isinstance(hint, type) and issubclass(hint, Enum):
        return [member.value for member in hint]
    if get_origin(hint) in (Union, types.UnionType):
        return [value for member in get_args(hint) for value in _members_of(member)]
    return []


def _perturb(value: Any) -> Iterator[Any]:
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int):
        yield from (value + 1, value / 2 or 0.5)  # momentum=0 may take any number
    elif isinstance(value, float):
        yield value / 2 or 0.5 if math.isfinite(value) else 2.0
    elif isinstance(value, (tuple, list)) and value:
        others = [next(_perturb(item), None) for item in value]
        if None not in others:
            yield type(value)(others)


def _from_types(hint: Any) -> Iterator[Any]:
    """Values of a type, where None holds, which stands for what is decided elsewhere."""
    if hint is bool:
        yield from (True, False)
    elif hint is int:
        yield 2
    elif hint is float:
        yield 0.5
    elif get_origin(hint) is tuple:
        values = [next(_from_types(member), None) for member in get_args(hint)]
        if None not in values:
            yield tuple(values)
    elif get_origin(hint) in (Union, types.UnionType):
        for member in get_args(hint):
            yield from _from_types(member)

"""Type hints taken apart: what a field may hold."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from typing import Any, Literal, Union

_SEQUENCES = (list, tuple, Sequence, Iterable)


def members_of(hint: Any) -> list[Any]:
    """The types that a hint allows, without None: ``int`` and ``str`` for ``Union[int, str, None]``."""
    hint = _unwrap(hint)
    if typing.get_origin(hint) in (Union, types.UnionType):
        return [member for part in typing.get_args(hint) for member in members_of(part)]
    return [] if hint is type(None) else [hint]


def _unwrap(hint: Any) -> Any:
    """What a `NewType` or a `type` alias stands for."""
    for attribute in ("__supertype__", "__value__"):
        if hasattr(hint, attribute) and not isinstance(hint, type):
            return _unwrap(getattr(hint, attribute))
    return hint


def is_class(member: Any, parent: type = object) -> bool:
    """Whether a type is a class below another, and not ``list[int]``, which Python 3.10 calls one."""
    return isinstance(member, type) and typing.get_origin(member) is None and issubclass(member, parent)


def is_mapping(member: Any) -> bool:
    """Whether a type is one of dicts."""
    origin = typing.get_origin(member) or member
    return origin is dict or origin is Mapping


def is_sequence(member: Any) -> bool:
    """Whether a type is one of lists or tuples."""
    return (typing.get_origin(member) or member) in _SEQUENCES


def item_of(sequence: Any) -> Any:
    """The type of what a sequence holds; text where its hint does not say it."""
    items = [item for item in typing.get_args(sequence) if item is not ...]
    return Union[tuple(items)] if items else str  # noqa: UP007 - the items are known at run time only


def is_tuple(sequence: Any) -> bool:
    """Whether a sequence is a tuple, and no list."""
    return (typing.get_origin(sequence) or sequence) is tuple


def length_of(sequence: Any) -> int | None:
    """How many items a sequence has; None if any number."""
    items = typing.get_args(sequence)
    is_fixed = is_tuple(sequence) and bool(items) and ... not in items
    return len(items) if is_fixed else None


def is_choice(member: Any) -> bool:
    """Whether a type is a closed set of values."""
    return typing.get_origin(member) is Literal or is_class(member, Enum)


def values_of(choice: Any) -> list[Any]:
    """The values of a closed set; of an enum, those of its members."""
    if typing.get_origin(choice) is Literal:
        return list(typing.get_args(choice))
    return [member.value for member in choice]


def name_of(hint: Any) -> str:
    """A type as one writes it."""
    if is_class(hint):
        return str(hint.__name__)
    return str(hint).replace("typing.", "").replace("collections.abc.", "")

"""From the words after a flag to a value of the field's type."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import json
import typing
from argparse import ArgumentTypeError
from collections.abc import Callable, Collection, Iterable, Sequence
from enum import Enum
from pathlib import PurePath
from typing import Any

from drivetrain.arguments.parser.hints import (
    is_choice,
    is_class,
    is_mapping,
    is_sequence,
    is_tuple,
    item_of,
    members_of,
    name_of,
    values_of,
)

Reader = Callable[[str], Any]
"""Makes a value of a word; raises ArgumentTypeError."""

_TRUE = ("yes", "true", "t", "y", "1")
_FALSE = ("no", "false", "f", "n", "0")
_BY_RANK: Sequence[Callable[[Any], bool]] = (
    is_choice,
    is_mapping,
    lambda member: member is int,
    lambda member: member is float,
    lambda member: member is bool,
    lambda member: not is_class(member, PurePath) and not is_class(member, str),
    lambda member: not is_class(member, str),
)
"""The most specific first: of several types, the first that a word can be read as is taken."""


class InexpressibleError(TypeError):
    """No word on a command line stands for a value of the type."""


def make_reader(hint: Any) -> Reader:
    """What reads one word as the most specific of the types that a hint allows.

    Raises:
        InexpressibleError: No word can be read as any of them.
    """
    readers = _readers_of(hint)
    if not readers:
        raise InexpressibleError(name_of(hint))
    return _first_of(hint, readers)


def make_items_reader(hint: Any) -> Callable[[Sequence[str]], Any]:
    """What reads all words after a flag, for a hint with a list or a tuple in it.

    A single word that is no item of the list is read as one of the other types, if there are any. As
    published it makes a list for ``str | list[str]``, and a text for ``str | list[str] | None``.

    Raises:
        InexpressibleError: No word can be read as an item.
    """
    sequence = next(filter(is_sequence, members_of(hint)))
    others = [member for member in members_of(hint) if not is_sequence(member)]
    # An item of an enum is its member, as published, where a field of an enum holds a member's value.
    items = _readers_of(item_of(sequence), as_member=True)
    if not items:
        raise InexpressibleError(name_of(sequence))
    read_item = _first_of(item_of(sequence), items)
    is_text_first = str in others and type(None) in typing.get_args(hint)
    other_readers = [reader for member in others for reader in _readers_of(member)]

    def read_items(words: Sequence[str]) -> Any:
        if bool in others and (not words or (len(words) == 1 and words[0].lower() in _TRUE + _FALSE)):
            return not words or read_bool(words[0])
        if is_text_first and len(words) == 1:
            return words[0]
        try:
            values = [read_item(word) for word in words]
        except ArgumentTypeError:
            if not other_readers or len(words) > 1:
                raise
            return _first_of(hint, other_readers)(words[0])
        return tuple(values) if is_tuple(sequence) else values

    return read_items


def read_bool(word: str) -> bool:
    """``yes``, ``true``, ``1`` and their likes are True."""
    if word.lower() in _TRUE:
        return True
    if word.lower() in _FALSE:
        return False
    raise ArgumentTypeError(f"{word!r} is neither true nor false. Allowed: true, yes, 1; false, no, 0.")


def make_choice_reader(values: Iterable[Any]) -> Reader:
    """What finds the value that a word is the text of; the word itself where there is none."""
    by_word = {str(value): value for value in values}
    return lambda word: by_word.get(word, word)


def _readers_of(hint: Any, as_member: bool = False) -> list[Reader]:
    """A reader for each type in a hint that a word can stand for, the most specific type first."""

    def rank(member: Any) -> int:
        return next((i for i, is_kind in enumerate(_BY_RANK) if is_kind(member)), len(_BY_RANK))

    readers = []
    for member in sorted(members_of(hint), key=rank):
        with contextlib.suppress(InexpressibleError):
            readers.append(_read_choice(member, as_member) if is_choice(member) else _read_one(member))
    return readers


def _first_of(hint: Any, readers: Sequence[Reader]) -> Reader:
    if len(readers) == 1:
        return readers[0]

    def read(word: str) -> Any:
        for reader in readers:
            try:
                return reader(word)
            except ArgumentTypeError:
                if reader is _read_mapping and word.lstrip().startswith("{"):
                    raise  # it was meant to be JSON: as plain text it would fail later, and less clearly
        raise ArgumentTypeError(f"{word!r} is no value of type {name_of(hint)}")

    return read


def _read_one(member: Any) -> Reader:
    if member is bool:
        return read_bool
    if member is Any:
        return str
    if is_mapping(member):
        return _read_mapping
    if not _takes_a_word(member):
        raise InexpressibleError(name_of(member))

    def read(word: str) -> Any:
        try:
            return member(word)
        except (TypeError, ValueError, ArithmeticError):
            raise ArgumentTypeError(f"{word!r} is no {name_of(member)}") from None

    return read


def _takes_a_word(member: Any) -> bool:
    """Whether a class makes an object of one text."""
    if not is_class(member) or dataclasses.is_dataclass(member):
        return False
    if is_class(member, Collection) and not is_class(member, str):
        return False
    try:
        inspect.signature(member).bind("word")
    except ValueError:  # a class that is written in C does not say what it takes
        return True
    except TypeError:
        return False
    return True


def _read_mapping(word: str) -> dict[str, Any]:
    try:
        value = json.loads(word)
    except ValueError as error:
        raise ArgumentTypeError(f"{word!r} is no JSON: {error}. Type '{{\"key\": 1}}', say.") from None
    if not isinstance(value, dict):
        raise ArgumentTypeError(f"{word!r} is no JSON object. Type '{{\"key\": 1}}', say.")
    return value


def _read_choice(choice: Any, as_member: bool = False) -> Reader:
    by_word = {str(value): value for value in values_of(choice)}
    if as_member and is_class(choice, Enum):
        by_word = {str(member.value): member for member in choice}

    def read(word: str) -> Any:
        if word not in by_word:
            raise ArgumentTypeError(
                f"{word!r} is not allowed. Allowed: {', '.join(map(repr, by_word))}."
            )
        return by_word[word]

    return read

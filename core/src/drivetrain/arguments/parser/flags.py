"""The flags of one field of a dataclass."""

from __future__ import annotations

import argparse
import dataclasses
import re
import typing
from argparse import ArgumentError, ArgumentTypeError, Namespace
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from drivetrain.arguments.parser.hints import (
    is_choice,
    is_class,
    is_sequence,
    item_of,
    length_of,
    members_of,
    values_of,
)
from drivetrain.arguments.parser.readers import (
    InexpressibleError,
    make_choice_reader,
    make_items_reader,
    make_reader,
)
from drivetrain_registry import UsageError

_MISSING = dataclasses.MISSING


def HfArg(
    *,
    aliases: str | Sequence[str] | None = None,
    help: str | None = None,
    default: Any = _MISSING,
    default_factory: Any = _MISSING,
    metadata: Mapping[str, Any] | None = None,
    **kwargs: Any,
) -> Any:
    """A dataclass field together with what the command line shows of it.

    Args:
        aliases: Further flags for it, such as ``"-e"`` or ``["--example", "-e"]``.
        help: What ``--help`` says of it.
        default: Its value if it is left out. Without this and a factory it has to be given.
        default_factory: What makes that value anew for each instance.
        metadata: Further entries of the field's metadata: ``choices``, ``metavar``, ``nargs``, ``const``.
        kwargs: Anything else that `dataclasses.field` takes.
    """
    metadata = dict(metadata or {})
    metadata.update({"aliases": aliases} if aliases is not None else {})
    metadata.update({"help": help} if help is not None else {})
    given = {"default": default, "default_factory": default_factory, **kwargs}
    return dataclasses.field(
        metadata=metadata, **{name: value for name, value in given.items() if value is not _MISSING}
    )


class StoreWords(argparse.Action):
    """Stores what a function makes of all words after the flag."""

    def __init__(self, *args: Any, read: Callable[[Sequence[str]], Any], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.read = read

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: Namespace,
        values: Any,
        option: str | None = None,
    ) -> None:
        """Store, or say what is wrong as argparse does."""
        try:
            setattr(namespace, self.dest, self.read(values))
        except ArgumentTypeError as error:
            raise ArgumentError(self, str(error)) from None


def add_flags(group: argparse._ActionsContainer, field: dataclasses.Field[Any], hint: Any) -> None:
    """Add a field's flags; for a boolean that is True by default, also the one that makes it False."""
    members = members_of(hint)
    default = field.default_factory() if field.default_factory is not _MISSING else field.default
    if default is _MISSING and members == [bool]:
        default = None if type(None) in typing.get_args(hint) else False
    aliases = field.metadata.get("aliases", [])
    group.add_argument(
        *flags_of(field.name),
        *([aliases] if isinstance(aliases, str) else aliases),
        dest=field.name,
        default=argparse.SUPPRESS if default is _MISSING else default,
        required=default is _MISSING,
        help=_escape(field.metadata.get("help")),
        **_describe_or_refuse(field, hint, default is _MISSING),
    )
    if default is True and members == [bool]:
        group.add_argument(
            f"--no_{field.name}",
            f"--no-{field.name.replace('_', '-')}",
            dest=field.name,
            action="store_false",
            default=argparse.SUPPRESS,
            help=f"The same as --{field.name} false.",
        )


def add_old_spelling(parser: argparse.ArgumentParser, name: str, hint: Any) -> None:
    """Add the flags of an earlier name of an argument, which ``--help`` does not show."""
    parser.add_argument(
        *flags_of(name),
        dest=name,
        default=argparse.SUPPRESS,
        help=argparse.SUPPRESS,
        **_describe(hint, {}),
    )


def flags_of(name: str) -> list[str]:
    """``--learning_rate`` and ``--learning-rate``."""
    return list(dict.fromkeys([f"--{name}", f"--{name.replace('_', '-')}"]))


def _describe_or_refuse(field: dataclasses.Field[Any], hint: Any, is_required: bool) -> dict[str, Any]:
    """The keywords of a flag; where its type cannot be written, those of one that says so when given."""
    try:
        return _describe(hint, field.metadata)
    except InexpressibleError as error:
        text = f"a value of type {error} cannot be given on a command line"
    if is_required:
        raise UsageError(
            f"`{field.name}`: {text}, and it has no default. Allowed are texts, numbers, booleans, paths, "
            "Literal, enums, dicts, lists of those, and classes that are made of a text. Give it a default, "
            "or leave it out of the command line with field(init=False)."
        )

    def refuse(words: Sequence[str]) -> Any:
        raise ArgumentTypeError(f"{text}. Set `{field.name}` in the script.")

    return {"action": StoreWords, "nargs": "*", "read": refuse}


def _describe(hint: Any, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The keywords of `add_argument` that say which words a flag takes and what they become."""
    members = members_of(hint)
    taken = {
        name: metadata[name] for name in ("choices", "metavar", "nargs", "const") if name in metadata
    }
    sequences = [member for member in members if is_sequence(member)]
    if sequences:
        return _describe_sequence(hint, sequences[0], taken)
    choices = [value for member in members if is_choice(member) for value in values_of(member)]
    is_closed = bool(choices) and all(is_choice(member) or is_class(member, str) for member in members)
    if is_closed:  # `Enum | str`, too, as published
        taken = {"choices": choices, **taken}
        return {"type": make_choice_reader(choices), **taken}
    if bool in members:
        taken = {"nargs": "?", "const": True, **taken}
    return {"type": make_reader(hint), **taken}


def _describe_sequence(hint: Any, sequence: Any, taken: Mapping[str, Any]) -> dict[str, Any]:
    members, item = members_of(hint), item_of(sequence)
    choices = taken.get("choices")
    if choices is None and len(members) == 1 and all(map(is_choice, members_of(item))):
        choices = [value for member in members_of(item) for value in values_of(member)]
    nargs = taken.get("nargs") or length_of(sequence) or ("*" if bool in members else "+")
    return {
        "action": StoreWords,
        "read": make_items_reader(hint),
        "nargs": nargs,
        "choices": choices and [str(choice) for choice in choices],
        "metavar": taken.get("metavar"),
    }


_EXPANDED = "default|prog|type|dest|choices|nargs|const|metavar|required|help|option_strings"


def _escape(help: str | None) -> str | None:
    """A help text in which a lone percent sign is one: argparse expands ``%(default)s`` and its likes."""
    if help is None:
        return None
    return re.sub(
        rf"%%|%\((?:{_EXPANDED})\)[sdr]|%", lambda found: "%%" if found[0] == "%" else found[0], help
    )

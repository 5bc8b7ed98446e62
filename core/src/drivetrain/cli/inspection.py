"""What a loaded part says about itself."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import typing
from collections.abc import Iterator
from typing import Any

from drivetrain import adapters
from drivetrain.parts import BASE_CLASSES
from drivetrain.plugin.command import CommandPlugin
from drivetrain.plugin.options import NoOptions, show_type
from drivetrain.plugin.part import Plugin
from drivetrain_registry import Kind
from drivetrain_registry.kinds import COMMAND


@dataclasses.dataclass(frozen=True)
class Option:
    """One field of a part's options.

    Attributes:
        type: As a user would write it.
        default: Its ``repr``; None where the option has to be given.
        help: What it does; empty if the part does not say.
    """

    name: str
    type: str
    default: str | None
    help: str = ""


def base_of(kind: Kind) -> type | None:
    """What a part of a kind derives from; None if core has no interface for the kind."""
    return CommandPlugin if kind == COMMAND else BASE_CLASSES.get(kind)


def find_plugin_class(kind: Kind, part: object) -> type | None:
    """The plugin class behind a part of a kind, adapted where need be; None if it is no such part."""
    base = base_of(kind)
    if base is None:  # core has no interface for the kind yet: anything goes
        return part if isinstance(part, type) else type(part)
    if isinstance(part, type) and issubclass(part, base):
        return part
    return adapters.adapt(kind, part)


def explain_wrong_kind(kind: Kind, part: object) -> str:
    """What is wrong with a part that `find_plugin_class` finds nothing behind."""
    expected = adapters.describe(kind, base_of(kind) or Plugin)
    return f"leads to {part!r}, which is no {kind}: {expected}."


def find_missing_methods(kind: Kind, cls: type) -> list[str]:
    """Required methods of the kind's base class that a class leaves out."""
    base = base_of(kind) or object
    required = [name for name in dir(base) if _is_abstract(getattr(base, name, None))]
    return [name for name in required if _is_abstract(getattr(cls, name, None))]


def read_option_fields(cls: type) -> list[Option]:
    """The options that a plugin class declares.

    What one does is the ``help`` in the metadata of its field, or what the class's docstring says of it
    under ``Attributes:``.

    Raises:
        TypeError: ``Options`` is no dataclass.
        NameError: The type of an option cannot be resolved.
    """
    options: Any = getattr(cls, "Options", NoOptions)
    hints, described = typing.get_type_hints(options), _read_attributes(options)
    return [
        Option(
            field.name,
            show_type(hints[field.name]),
            _show_default(field),
            str(field.metadata.get("help") or described.get(field.name, "")),
        )
        for field in dataclasses.fields(options)
        if field.init
    ]


def first_paragraph(part: object) -> str:
    """The first paragraph of a docstring on one line; empty if there is none."""
    text = getattr(part, "__doc__", None)
    if not isinstance(text, str):
        return ""
    return " ".join(inspect.cleandoc(text).split("\n\n")[0].split())


def examples_of(options: list[Option]) -> Iterator[tuple[str, str]]:
    """Up to two options with a value to type: those that are required come first.

    Where no default can be typed, the first option stands for all.
    """
    required = [(option.name, "...") for option in options if option.default is None]
    plain = [(o.name, o.default) for o in options if o.default and _is_literal(o.default)]
    yield from (required or plain[:2] or [(option.name, "...") for option in options[:1]])


def _read_attributes(cls: type) -> dict[str, str]:
    """What a docstring says of each attribute, on a line each."""
    section = inspect.cleandoc(cls.__doc__ or "").partition("Attributes:\n")[2].split("\n\n")[0]
    found = re.finditer(r"^ {4}(\w+): (.*(?:\n {5,}.*)*)", section, re.MULTILINE)
    return {match[1]: " ".join(match[2].split()).replace("``", "`") for match in found}


def _is_literal(text: str) -> bool:
    try:
        return ast.literal_eval(text) is not None
    except (ValueError, SyntaxError):
        return False


def _show_default(field: dataclasses.Field[Any]) -> str | None:
    if field.default_factory is not dataclasses.MISSING:
        return repr(field.default_factory())
    return None if field.default is dataclasses.MISSING else repr(field.default)


def _is_abstract(attribute: object) -> bool:
    return bool(getattr(attribute, "__isabstractmethod__", False))

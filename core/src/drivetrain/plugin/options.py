"""Options of a part: from `optim_args="rank=64, betas=(0.9, 0.95)"` to a typed dataclass.

Nothing is dropped in silence: an unknown key, a value of the wrong type or a missing one is an
error that lists the options there are.
"""

from __future__ import annotations

import ast
import dataclasses
import difflib
import json
import types
import typing
import warnings
from collections.abc import Mapping
from enum import Enum
from numbers import Integral, Real
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from drivetrain_registry import UsageError

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class NoOptions:
    """The options of a part that has none."""


class OptionsError(UsageError):
    """Options that cannot be read, with the option, what is wrong and what is allowed."""


def read_options(cls: type[T], given: str | Mapping[str, Any] | None, *, option: str, owner: str) -> T:
    """Make an instance of the dataclass ``cls`` from what the user gave.

    Args:
        cls: The dataclass that a part declares as its ``Options``.
        given: ``"rank=64, proj_type=std"`` (values are Python literals; a bare word is a string, but
            ``true`` and ``false`` are bools to an option that takes one), a JSON object, a mapping, or
            None for the defaults.
        option: The argument that held it, for messages: ``"optim_args"``.
        owner: The part they are meant for, for messages: ``"'galore_adamw' (drivetrain-galore 0.1)"``.

    Raises:
        OptionsError: The text cannot be parsed, a key is unknown or missing, or a value has the
            wrong type.
    """
    values = _as_dict(given, option)
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}  # type: ignore[arg-type]
    hints = typing.get_type_hints(cls)
    for key, value in values.items():
        if key not in fields:
            raise OptionsError(_explain_unknown(cls, key, option, owner))
        try:
            values[key] = _convert_typed(value, hints[key])
        except (TypeError, OverflowError):
            raise OptionsError(
                f"`{option}`: {key}={value!r} is no {show_type(hints[key])}, which is what {owner} "
                f"expects. {_suggest_bool(key, value, hints[key])}{describe_options(cls)}"
            ) from None
    missing = [name for name, field in fields.items() if _is_required(field) and name not in values]
    if missing:
        raise OptionsError(
            f"`{option}`: {owner} needs {' and '.join(missing)}. "
            f"Type: {_write_example(option, missing)}. {describe_options(cls)}"
        )
    try:
        return cls(**values)
    except Exception as error:  # the dataclass's own __post_init__
        raise OptionsError(f"`{option}`: {error} {describe_options(cls)}") from error


def parse_options(text: str, *, option: str) -> dict[str, Any]:
    """Read ``key=value`` pairs separated by commas; values are Python literals or bare words.

    A JSON object is read too: it is how published command lines write a dict.

    Raises:
        OptionsError: The text does not have that form, or gives a key twice.
    """
    values = _read_text(text, option)
    return {key: str(value) if isinstance(value, _BareWord) else value for key, value in values.items()}


def describe_options(cls: type) -> str:
    """One line that lists the options of a dataclass with type and default."""
    hints = typing.get_type_hints(cls)
    lines = [
        f"{field.name}: {show_type(hints[field.name])}"
        + ("" if _is_required(field) else f" = {_default(field)!r}")
        for field in dataclasses.fields(cls)
        if field.init
    ]
    return f"Options: {'; '.join(lines)}." if lines else "It has no options."


def show_type(hint: Any) -> str:
    """A type as a user would write it: ``float | None``, ``'std' | 'left'``."""
    origin, members = get_origin(hint), get_args(hint)
    if hint is Any:
        return "anything"
    if hint is None or hint is type(None):
        return "None"
    if hint is Ellipsis:
        return "..."
    if isinstance(hint, list):  # what a Callable takes
        return f"[{', '.join(map(show_type, hint))}]"
    if origin is Literal:
        return " | ".join(map(repr, members))
    if origin in (Union, types.UnionType):
        return " | ".join(map(show_type, members))
    if isinstance(hint, type) and issubclass(hint, Enum):
        return " | ".join(repr(member.value) for member in hint)
    name = getattr(origin or hint, "__name__", str(hint))
    return f"{name}[{', '.join(map(show_type, members))}]" if members else name


def _as_dict(given: object, option: str) -> dict[Any, Any]:
    if given is None:
        return {}
    if isinstance(given, str):
        return _read_text(given, option)
    if isinstance(given, Mapping):
        return dict(given)
    raise OptionsError(
        f"`{option}`: {given!r} is neither text nor a dict. Type: {_write_example(option, ['name'])}"
    )


class _BareWord(str):
    """Text that was typed without quotes."""


def _read_text(text: str, option: str) -> dict[str, Any]:
    """What `parse_options` returns, with bare words told apart."""
    if text.lstrip().startswith("{"):
        return _parse_json(text, option)
    values: dict[str, Any] = {}
    for keyword in _parse_call(text, option).keywords:
        if keyword.arg is None:
            raise OptionsError(_explain_unreadable(text, option))
        if keyword.arg in values:
            raise OptionsError(f"`{option}`: {keyword.arg!r} is given twice in {text!r}. Give it once.")
        values[keyword.arg] = _read_value(keyword.value, keyword.arg, option)
    return values


def _write_example(option: str, names: list[str]) -> str:
    """``optim_args="rank=..."``, or ``lr_scheduler_kwargs=dict(min_lr=...)`` for what usually is a dict."""
    values = ", ".join(f"{name}=..." for name in names)
    return f"{option}=dict({values})" if option.endswith("kwargs") else f'{option}="{values}"'


def _parse_json(text: str, option: str) -> dict[str, Any]:
    try:
        values = json.loads(text)
    except ValueError:
        values = None
    if not isinstance(values, dict):
        raise OptionsError(_explain_unreadable(text, option))
    return values


def _parse_call(text: str, option: str) -> ast.Call:
    """The text as the arguments of a call: Python's own parser knows where each value ends."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # backslashes in a pattern
            call = ast.parse(f"options({text}\n)", mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        call = None
    # A parenthesis in the text can end the call early, and begin another expression.
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.args:
        raise OptionsError(_explain_unreadable(text, option))
    return call


def _explain_unreadable(text: str, option: str) -> str:
    return (
        f"`{option}`: {text!r} cannot be read. Write key=value pairs separated by commas, values "
        f"as Python literals, text with quotes where it is no single word: "
        f"{option}=\"rank=64, betas=(0.9, 0.95), kind='a b'\", or pass a dict."
    )


def _read_value(node: ast.expr, key: str, option: str) -> Any:
    if _is_bare_word(node):  # proj_type=std, dtype=torch.bfloat16
        return _BareWord(ast.unparse(node))
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, MemoryError, RecursionError):
        raise OptionsError(
            f"`{option}`: the value of {key!r}, {ast.unparse(node)}, is no literal. Write a number, "
            "True, False, None, a quoted text, or a tuple, list or dict of those."
        ) from None


def _is_bare_word(node: ast.expr) -> bool:
    if isinstance(node, ast.Attribute):
        return _is_bare_word(node.value)
    return isinstance(node, ast.Name)


def _explain_unknown(cls: type, key: object, option: str, owner: str) -> str:
    names = [field.name for field in dataclasses.fields(cls) if field.init]
    near = difflib.get_close_matches(str(key), names, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    further = getattr(cls, "further_options", "")  # of what is no dataclass that its author wrote
    said = f"`{option}`: {key!r} is no option of {owner}.{hint} {describe_options(cls)}"
    return f"{said} {further}".rstrip()


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def convert(value: Any, hint: Any) -> Any:
    """Return ``value`` as ``hint`` wants it; an int is a float, a list is a tuple.

    Raises:
        TypeError: It is none.
    """
    origin, members = get_origin(hint) or hint, get_args(hint)
    if hint is Any:
        return value
    if origin in (Union, types.UnionType):
        return value if type(value) in members else _convert_to_first(value, members)
    if origin is Literal:
        return _convert_to_literal(value, members)
    if origin in (tuple, list, set, dict):
        return _convert_collection(value, origin, members)
    if origin in (int, float):
        number = Integral if origin is int else Real
        return origin(_require(isinstance(value, number) and not isinstance(value, bool), value))
    if isinstance(origin, type) and issubclass(origin, Enum):
        return _convert_to_member(value, origin)
    is_text_by_accident = bool(members) and isinstance(value, str)  # a text is a Sequence, too
    return _require(isinstance(value, origin) and not is_text_by_accident, value)


def _convert_typed(value: Any, hint: Any) -> Any:
    """The same for what may be a bare word: true and false are bools to what takes them as no text."""
    if not isinstance(value, _BareWord):
        return convert(value, hint)
    try:
        return convert(str(value), hint)
    except TypeError:
        return convert({"true": True, "false": False}.get(value, str(value)), hint)


def _suggest_bool(key: str, value: Any, hint: Any) -> str:
    """What to type instead of 1 and 0, where they stand for yes and no."""
    takes_bool = bool in (hint, *get_args(hint))
    return f"Type {key}={bool(value)}. " if takes_bool and type(value) is int and value in (0, 1) else ""


def _convert_to_first(value: Any, hints: tuple[Any, ...]) -> Any:
    for hint in hints:
        try:
            return convert(value, hint)
        except TypeError:
            continue
    raise TypeError


def _convert_to_literal(value: Any, members: tuple[Any, ...]) -> Any:
    for member in members:
        is_same_type = isinstance(value, type(member)) and isinstance(value, bool) == isinstance(
            member, bool
        )
        if is_same_type and value == member:  # True == 1, but it is another answer
            return member
    raise TypeError


def _convert_to_member(value: Any, cls: type[Enum]) -> Enum:
    try:
        return cls(value)
    except ValueError:
        raise TypeError from None


def _convert_collection(value: Any, cls: type, members: tuple[Any, ...]) -> Any:
    if cls is tuple:
        return _convert_tuple(value, members)
    _require(isinstance(value, cls), value)
    if not members:
        return value
    if cls is dict:
        return {convert(key, members[0]): convert(item, members[1]) for key, item in value.items()}
    return cls(convert(item, members[0]) for item in value)


def _convert_tuple(value: Any, members: tuple[Any, ...]) -> Any:
    _require(isinstance(value, (tuple, list)), value)
    if not members:
        return tuple(value)
    if len(members) == 2 and members[1] is Ellipsis:
        return tuple(convert(item, members[0]) for item in value)
    _require(len(value) == len(members), value)
    return tuple(convert(item, member) for item, member in zip(value, members, strict=True))


def _require(claim: bool, value: Any) -> Any:
    if not claim:
        raise TypeError
    return value

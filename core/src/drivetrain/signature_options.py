"""Options of a part that declares none: the parameters of its constructor, with the types that these have."""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing
from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from inspect import Parameter
from typing import Any, Literal, Union, get_args, get_origin

from drivetrain.plugin.options import convert

_NAMED = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
_PLAIN: tuple[Any, ...] = (str, bool, set, dict)
"""Types that a default without an annotation stands for. A number stands for any number, as a list does
for a tuple."""

_ADDRESS = " at 0x"
"""What texts have of objects that do not say what they are."""


@dataclasses.dataclass(frozen=True)
class Default:
    """Stands where an option was not given: the constructor's own default holds."""

    value: Any

    def __repr__(self) -> str:
        return _show(self.value)


def parameters_of(function: Callable[..., Any]) -> dict[str, Parameter]:
    """The parameters that a function takes by name, each with the type that its values are checked for."""
    hints = hints_of(function)
    return {
        parameter.name: parameter.replace(annotation=_checkable(parameter, hints.get(parameter.name)))
        for parameter in inspect.signature(function).parameters.values()
        if parameter.kind in _NAMED
    }


def constructor_parameters(cls: type, *, up_to: type = object) -> dict[str, Parameter]:
    """The parameters that a class's constructor takes by name, but for ``self``.

    Where it takes ``**kwargs``, those of the next constructor in the order of inheritance are among them.

    Args:
        cls: The class.
        up_to: The base whose own parameters are not wanted.
    """
    found: dict[str, Parameter] = {}
    for constructor in constructors_of(cls, up_to=up_to):
        own = parameters_of(constructor)
        own.pop(next(iter(inspect.signature(constructor).parameters)), None)
        found = {**own, **found}
        if not catch_all(constructor):
            break
    return found


def constructors_of(cls: type, *, up_to: type = object) -> Iterator[Callable[..., Any]]:
    """What is called to make instances, in the order of inheritance.

    That is each ``__init__``, and a ``__new__`` where there is no ``__init__`` beside it.
    """
    for base in cls.__mro__[: cls.__mro__.index(up_to)]:
        own = vars(base)
        if "__init__" in own:
            yield own["__init__"]
        elif isinstance(own.get("__new__"), staticmethod):
            yield own["__new__"].__func__


def catch_all(function: Callable[..., Any]) -> str:
    """What a function calls its ``**kwargs``; empty if it has none."""
    parameters = inspect.signature(function).parameters.values()
    return next((p.name for p in parameters if p.kind is Parameter.VAR_KEYWORD), "")


def make_options(owner: str, parameters: Iterable[Parameter], *, further_options: str = "") -> type[Any]:
    """A dataclass with a field for each parameter; one that is left out holds a `Default`.

    Args:
        owner: What the parameters belong to.
        parameters: The parameters.
        further_options: What is said of options that are none of these, beside what they are.
    """
    fields: list[Any] = [
        (parameter.name, parameter.annotation)
        if parameter.default is Parameter.empty
        else (
            parameter.name,
            parameter.annotation,
            dataclasses.field(default=Default(parameter.default)),
        )
        for parameter in parameters
    ]
    required_first = sorted(fields, key=len)
    return dataclasses.make_dataclass(
        f"{owner}Options", required_first, frozen=True, namespace={"further_options": further_options}
    )


def given(options: Any) -> dict[str, Any]:
    """The options that were given."""
    values = {
        field.name: getattr(options, field.name) for field in dataclasses.fields(options) if field.init
    }
    return {name: value for name, value in values.items() if not isinstance(value, Default)}


def hints_of(function: Callable[..., Any]) -> dict[str, Any]:
    """Annotations by name; Any where one is a text that leads nowhere."""
    plain = inspect.unwrap(function)
    names = getattr(plain, "__globals__", {})
    return {
        name: _resolve(annotation, names)
        for name, annotation in getattr(plain, "__annotations__", {}).items()
    }


def _show(value: Any) -> str:
    """A default as users can read it, the same in every process."""
    if isinstance(value, Enum):
        return repr(value.value)
    if callable(value):
        name = getattr(value, "__qualname__", type(value).__qualname__)
        return "a function" if "<lambda>" in name else str(name).rpartition("<locals>.")[2]
    shown = repr(value)
    return f"a {type(value).__name__}" if _ADDRESS in shown else shown


def _resolve(annotation: Any, names: dict[str, Any]) -> Any:
    alone = types.SimpleNamespace(__annotations__={"hint": annotation})
    try:
        return typing.get_type_hints(alone, names)["hint"]
    except (NameError, TypeError, AttributeError, SyntaxError):
        return Any


def _checkable(parameter: Parameter, hint: Any) -> Any:
    """What values of a parameter are checked for: its annotation or its default's type, if that can be."""
    has_default = parameter.default is not Parameter.empty
    if hint is None and has_default:
        return _type_of_default(parameter.default)
    if hint is None or not _can_be_checked(hint):
        return Any
    fits = not has_default or _fits(parameter.default, hint)
    return hint if fits else Union[hint, type(parameter.default)]  # noqa: UP007


def _type_of_default(default: Any) -> Any:
    if isinstance(default, (int, float)) and not isinstance(default, bool):
        return int | float  # momentum=0 is no promise to take whole numbers alone
    if type(default) in (list, tuple):
        return list | tuple
    return next((cls for cls in _PLAIN if type(default) is cls), Any)


def _fits(value: Any, hint: Any) -> bool:
    try:
        convert(value, hint)
    except (TypeError, OverflowError):
        return False
    return True


def _can_be_checked(hint: Any) -> bool:
    origin, members = get_origin(hint), get_args(hint)
    if hint is Any or hint is None or origin is Literal:
        return True
    if origin in (Union, types.UnionType, tuple, list, set, dict):
        return all(_can_be_checked(member) for member in members if member is not Ellipsis)
    try:
        isinstance(None, origin or hint)
    except TypeError:  # a type variable, a protocol, a text
        return False
    return True

"""The family `po_*`: an optimizer plugin for each class that pytorch_optimizer has."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Mapping
from inspect import Parameter

from torch.optim import Optimizer

from drivetrain.plugin import adapt_optimizer
from drivetrain_pytorch_optimizer import peculiarities
from drivetrain_pytorch_optimizer.library import get_class, list_optimizers
from drivetrain_pytorch_optimizer.member import Member
from drivetrain_pytorch_optimizer.of_a_model import OfAModel, take_sorted
from drivetrain_pytorch_optimizer.orthogonal import NOT_HIDDEN, Orthogonal
from drivetrain_pytorch_optimizer.papers import find_paper
from drivetrain_pytorch_optimizer.plain_state import PlainState

api_version = 1

_PREFIX = "po_"


def names() -> list[str]:
    """Every name that users may type."""
    return [_PREFIX + name for name in list_optimizers()]


@functools.cache
def find(name: str) -> type[Member]:
    """The plugin behind a name.

    Raises:
        KeyError: The library has no such optimizer.
    """
    own_name = name.removeprefix(_PREFIX)
    if name == own_name or own_name not in list_optimizers():
        raise KeyError(name)
    return _make_member(own_name, get_class(own_name))


def _make_member(name: str, cls: type[Optimizer]) -> type[Member]:
    """A plugin class around one of the library's."""
    parameters = inspect.signature(cls).parameters
    rate = parameters["lr"].default if "lr" in parameters else None
    refusals = (peculiarities.REFUSALS[name],) if name in peculiarities.REFUSALS else ()
    adapted = adapt_optimizer(_with_plain_state(name, cls), misfits=refusals)
    base = _choose_base(parameters)
    misfits = refusals if base is OfAModel else adapted.misfits
    attributes = {
        "__doc__": _describe(cls, misfits),
        "__module__": __name__,
        "Options": _divide_options(adapted.Options) if base is Orthogonal else adapted.Options,
        "optimizer": take_sorted(cls) if base is OfAModel else adapted.optimizer,
        "misfits": misfits,
        "caution": peculiarities.CAUTIONS.get(name),
        "divides_by_rate": name in peculiarities.DIVIDING_BY_RATE,
        "own_rate": float(rate) if isinstance(rate, (int, float)) else None,
        "paper": find_paper(name, cls.__doc__ or ""),
        "suits": peculiarities.SUITS.get(name, ()),
        "state_bytes": peculiarities.STATE_BYTES.get(name),
    }
    member: type[Member] = type(cls.__name__, (base, adapted), attributes)
    return member


def _with_plain_state(name: str, cls: type[Optimizer]) -> type[Optimizer]:
    if name not in peculiarities.KEEPING_OBJECTS:
        return cls
    return type(cls.__name__, (PlainState, cls), {"__doc__": cls.__doc__, "__module__": __name__})


def _choose_base(parameters: Mapping[str, Parameter]) -> type[Member]:
    """What the constructor's parameters tell about how an optimizer is made."""
    if next(iter(parameters)) == "model":
        return OfAModel
    return Orthogonal if "adamw_lr" in parameters else Member


def _describe(cls: type[Optimizer], misfits: tuple[str, ...]) -> str:
    """What the class says of itself, after what stands against it."""
    return " ".join([*(f"Cannot be used: {misfit}." for misfit in misfits), cls.__doc__ or ""])


def _divide_options(options: type) -> type:
    """With the modules for AdamW, and without its weight decay, which is in the groups."""
    fields = [
        (field.name, field.type, field)
        for field in dataclasses.fields(options)
        if field.name != "adamw_wd"
    ]
    modules = ("adamw_modules", tuple[str, ...], NOT_HIDDEN)
    return dataclasses.make_dataclass(options.__name__, [*fields, modules], frozen=True)

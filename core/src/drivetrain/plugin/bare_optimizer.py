"""Optimizer classes without a plugin: what of the arguments reaches them, and which ones cannot be used."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import wraps
from inspect import Parameter
from types import MethodType
from typing import Any, ClassVar, get_args

import torch
from torch import nn
from torch.optim import Optimizer

from drivetrain.loop.batch_size import is_out_of_memory
from drivetrain.plugin.imports import quietly
from drivetrain.plugin.optimizer import OptimizerPlugin, refuse_given_twice
from drivetrain.plugin.step import find_misfits_of_step
from drivetrain.signature_options import (
    catch_all,
    constructor_parameters,
    constructors_of,
    given,
    hints_of,
    make_options,
)
from drivetrain_registry import UsageError

logger = logging.getLogger(__name__)

_ADAM_ARGUMENTS = {
    "betas": ("adam_beta1", "adam_beta2"),
    "beta1": ("adam_beta1",),
    "beta2": ("adam_beta2",),
    "eps": ("adam_epsilon",),
}
"""Parameters that many constructors have, and the arguments that they are for."""

_OTHERS = ("params", "defaults", "lr", "weight_decay")
"""Parameters that are no options: what the trainer gives, and torch's own. So is the first, by any name."""

_STAND_IN = 8
"""Features of the models that options are tried on."""

_WRITE_ONE = "Choose another optimizer, or write a plugin around it (drivetrain.plugin.OptimizerPlugin)."


class BareOptimizer(OptimizerPlugin):
    """A class of optimizers; options are what its constructor takes.

    `learning_rate` and `weight_decay` hold. `adam_beta1`, `adam_beta2` and `adam_epsilon` do if they are set
    and the class has a place for them; else its own defaults hold, which need not be those of Adam.

    Attributes:
        optimizer: The class.
        places: Parameters that `adam_beta1` and the like go to, with their own defaults.
        misfits: Why the trainer cannot use it, if it cannot.
    """

    optimizer: ClassVar[type[Any]]
    places: ClassVar[Mapping[str, Any]]
    misfits: ClassVar[tuple[str, ...]]

    def build(self) -> tuple[type[Any], dict[str, Any]]:
        """The class and its keyword arguments."""
        from_arguments = {"lr": self.args.learning_rate, **self._adam_arguments()}
        return self.optimizer, {**from_arguments, **given(self.options)}

    def create(self, model: nn.Module, groups: list[dict[str, Any]]) -> Optimizer:
        """Make the optimizer, and explain what it raises then or at the first update."""
        keywords = _list(self.build()[1])
        try:
            optimizer = super().create(model, groups)
        except UsageError:
            raise
        except Exception as error:
            raise UsageError(
                f"`optim`: {self.name!r} cannot be made for this model with {keywords}: "
                f"{_tell(error)}. Check `optim_args`. {_WRITE_ONE}"
            ) from error
        if not all("lr" in group for group in optimizer.param_groups):
            self._add_rates(optimizer)
        _explain_first_step(optimizer, self.name, keywords)
        return optimizer

    def problems(self) -> Iterable[str]:
        """Refuse classes that the trainer cannot make or step, and values that the class refuses."""
        yield from super().problems()
        for misfit in self.misfits:
            yield f"`optim`: {self.name!r} cannot be used as it is: {misfit}. {_WRITE_ONE}"
        overridden = {name: _ADAM_ARGUMENTS[name] for name in self.places if name in given(self.options)}
        yield from refuse_given_twice(self, **overridden)
        if not self.misfits:
            yield from self._try_options()

    def _try_options(self) -> Iterable[str]:
        """Make one for a small model: the class says what it thinks of its options.

        It does not if any small model suits it, or if it says the same without them.
        """
        _, keywords = self.build()
        chosen = {name: value for name, value in keywords.items() if name != "lr"}
        error = self._find_error(keywords) if chosen else None
        if error is None or repr(error) == repr(self._find_error({"lr": keywords["lr"]})):
            return
        reason = str(error).rstrip(".") or type(error).__name__
        yield (
            f"`optim_args`: {self.optimizer.__name__} cannot be made with {_list(chosen)}: {reason}. "
            "Type another value."
        )

    def _find_error(self, keywords: Mapping[str, Any]) -> Exception | None:
        """What the class raises for the last of the small models; None if it takes one of them."""
        cls, _ = self.build()
        error = None
        with torch.random.fork_rng(devices=[]), quietly():
            for model in _make_stand_ins(self.args.device):
                decayed = [p for p in model.parameters() if p.dim() > 1]
                others = [p for p in model.parameters() if p.dim() == 1]
                groups = [
                    {"params": decayed, "weight_decay": self.args.weight_decay},
                    *([{"params": others, "weight_decay": 0.0}] if others else []),
                ]
                try:
                    cls(self.group_parameters(model, groups), **keywords)
                except UsageError:  # of how parameters are sorted, which are other ones here
                    return None
                except Exception as raised:
                    error = raised
                else:
                    return None
        return error

    def _add_rates(self, optimizer: Optimizer) -> None:
        """Give each group a rate, which schedules write, and say that the class does not look at it."""
        for group in optimizer.param_groups:
            group.setdefault("lr", self.args.learning_rate)
        logger.warning(
            "`optim`: %r keeps no rate in its groups: neither `learning_rate` nor the schedule has an "
            "effect on its updates, unless its constructor keeps the former.",
            self.name,
        )

    def _adam_arguments(self) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for name, default in self.places.items():
            arguments = _ADAM_ARGUMENTS[name]
            is_required = default is Parameter.empty
            if is_required or not all(map(self.args.is_default, arguments)):
                own = [None] * 2 if is_required else default if name == "betas" else [default]
                chosen = tuple(
                    getattr(self.args, argument)
                    if is_required or not self.args.is_default(argument)
                    else value
                    for argument, value in zip(arguments, own, strict=False)
                )
                values[name] = chosen if name == "betas" else chosen[0]
        return values


def adapt_optimizer(cls: type, *, misfits: tuple[str, ...] = ()) -> type[BareOptimizer]:
    """A plugin class around a class of optimizers.

    Args:
        cls: The class.
        misfits: Why the trainer cannot use it, where that is known. Else its signatures are asked.
    """
    parameters = constructor_parameters(cls, up_to=Optimizer)
    found = {name: parameters[name].default for name in _ADAM_ARGUMENTS if name in parameters}
    found = {name: default for name, default in found.items() if _is_place(name, default)}
    reasons = misfits or tuple(_find_misfits(cls, parameters))
    others = (*_OTHERS, _first_parameter(cls)[0])
    fields = [
        parameter.replace(default=None) if reasons and _is_required(parameter) else parameter
        for name, parameter in parameters.items()
        if name not in others and not (_is_required(parameter) and name in found)
    ]  # nothing is required of one who is told that the class cannot be used
    reached = {argument for name in found for argument in _ADAM_ARGUMENTS[name]}
    reached |= {"weight_decay"} & parameters.keys()
    wanted = ("adam_beta1", "adam_beta2", "adam_epsilon", "weight_decay")

    class Adapted(BareOptimizer):
        __doc__ = cls.__doc__
        Options = make_options(cls.__name__, fields, further_options=_describe_catch_all(cls))
        optimizer = cls
        places = found
        misfits = reasons
        unused_arguments = tuple(argument for argument in wanted if argument not in reached)

    return Adapted


def _make_stand_ins(device: torch.device) -> Iterator[nn.Module]:
    """Small models: with and without biases, which some classes do not take, on the CPU and on a device.

    What is tried on them is not to cost a start of the device, so that comes last.
    """
    for place in dict.fromkeys((torch.device("cpu"), device)):
        for has_bias in (True, False):
            layers = [nn.Linear(_STAND_IN, _STAND_IN, bias=has_bias, device=place) for _ in range(2)]
            yield nn.ModuleDict(dict(zip(("first", "second"), layers, strict=True)))


def _tell(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).rstrip('.')}"


def _list(keywords: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in keywords.items())


def _is_required(parameter: Parameter) -> bool:
    return parameter.default is Parameter.empty


def _is_place(name: str, default: Any) -> bool:
    """Whether what a constructor calls ``betas`` (or ``eps``...) is what Adam calls so, by its default."""
    if default is Parameter.empty:
        return True
    if name != "betas":
        return _is_number(default)
    return isinstance(default, (tuple, list)) and len(default) == 2 and all(map(_is_number, default))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _find_misfits(cls: type, parameters: Mapping[str, Parameter]) -> Iterator[str]:
    first, hint = _first_parameter(cls)
    others = {p.name: p.annotation for p in parameters.values() if _is_required(p)}
    models = [name for name, kind in others.items() if _is_kind(kind, nn.Module)]
    wrapped = [name for name, kind in others.items() if _is_kind(kind, Optimizer)]
    if first in ("model", "module") or _is_kind(hint, nn.Module):
        yield "it is made of a model, not of parameters"
    elif first in ("optimizer", "base_optimizer") or _is_kind(hint, Optimizer):
        yield "it is made of another optimizer, not of parameters"
    elif models:
        yield f"its constructor needs a model (`{models[0]}`)"
    elif wrapped:
        yield f"its constructor needs another optimizer (`{wrapped[0]}`)"
    elif "lr" not in parameters:
        taken = (
            "only takes `lr` by its position" if _is_positional(cls, "lr") else "has no parameter `lr`"
        )
        yield f"its constructor {taken}, which `learning_rate` and the schedule set"
    step = inspect.signature(cls.step).parameters.values()  # type: ignore[attr-defined]
    yield from find_misfits_of_step(list(step)[1:])


def _first_parameter(cls: type) -> tuple[str, Any]:
    """What a constructor takes first, which is parameters as a rule, and its annotation."""
    for constructor in constructors_of(cls, up_to=Optimizer):
        first = [*inspect.signature(constructor).parameters.values()][1:2]
        if first and first[0].kind is not Parameter.VAR_POSITIONAL:
            return first[0].name, hints_of(constructor).get(first[0].name)
    return "params", None


def _is_positional(cls: type, name: str) -> bool:
    """Whether a constructor takes something by its place, and not by its name."""
    constructor = next(constructors_of(cls, up_to=Optimizer), None)
    parameter = constructor and inspect.signature(constructor).parameters.get(name)
    return bool(parameter and parameter.kind is Parameter.POSITIONAL_ONLY)


def _describe_catch_all(cls: type) -> str:
    constructor = next(constructors_of(cls, up_to=Optimizer), None)
    caught = catch_all(constructor) if constructor else ""
    if not caught:
        return ""
    return (
        f"What else its `**{caught}` may hold, its signature does not say: write a plugin around it "
        "(drivetrain.plugin.OptimizerPlugin) to pass that on."
    )


def _is_kind(hint: Any, cls: type) -> bool:
    """Whether an annotation means a class, its instances, or one of several that all are of it."""
    members = get_args(hint) or (hint,)
    return all(isinstance(member, type) and issubclass(member, cls) for member in members)


def _explain_first_step(optimizer: Optimizer, name: str, keywords: str) -> None:
    """Have the first step say what may be at fault, should it fail; the others are the class's own."""
    step = _step_of(optimizer)
    is_first = True

    @wraps(step)
    def explained(self: Optimizer, *args: Any, **kwargs: Any) -> Any:
        nonlocal is_first
        try:
            result = step(self, *args, **kwargs)
        except Exception as error:
            if not is_first or is_out_of_memory(error):
                raise
            raise UsageError(
                f"`optim`: {name!r} fails at its first update: {_tell(error)}. "
                f"It was made with {keywords}: if one of these is at fault, type another value "
                "(`optim_args`). The trainer calls `step()` without a closure, after a backward pass that "
                f"keeps no graph of gradients: if it needs either, no value helps. {_WRITE_ONE}"
            ) from error
        is_first = False
        return result

    optimizer.step = MethodType(explained, optimizer)  # type: ignore[method-assign]


def _step_of(optimizer: Optimizer) -> Callable[..., Any]:
    """Its step as a function of the optimizer, whatever the constructor put in the method's place."""
    own: Any = optimizer.step
    if getattr(own, "__self__", None) is optimizer:
        return own.__func__  # type: ignore[no-any-return]

    def step(_: Optimizer, *args: Any, **kwargs: Any) -> Any:
        return own(*args, **kwargs)

    return step

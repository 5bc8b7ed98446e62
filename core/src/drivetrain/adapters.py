"""Classes and functions that are no plugins, made into ones: what a dotted path may lead to."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

from drivetrain.plugin.optimizer import OptimizerPlugin
from drivetrain.plugin.part import Plugin
from drivetrain.plugin.scheduler import SchedulerPlugin
from drivetrain_registry.kinds import OPTIMIZER, REPORTER, SCHEDULER, Kind


def adapt(kind: Kind, part: object) -> type[Plugin] | None:
    """A plugin class around a bare object, or None if there is no way to make one."""
    if kind == OPTIMIZER and _is_optimizer_class(part):
        assert isinstance(part, type)
        return _adapt_optimizer(part)
    if kind == SCHEDULER and inspect.isfunction(part):
        return _adapt_schedule(part)
    return None


def describe(kind: Kind, base: type[Plugin]) -> str:
    """What a name of a kind may lead to, for error messages."""
    accepted = {
        OPTIMIZER: ", or a subclass of torch.optim.Optimizer",
        SCHEDULER: ", or a function of optimizer, num_warmup_steps and num_training_steps",
        REPORTER: "",
    }
    return f"it takes a subclass of drivetrain.plugin.{base.__name__}{accepted.get(kind, '')}"


def _is_optimizer_class(part: object) -> bool:
    from torch.optim import Optimizer

    return isinstance(part, type) and issubclass(part, Optimizer)


def _adapt_optimizer(optimizer: type) -> type[OptimizerPlugin]:
    """Options are the parameters of the class's constructor, checked against their defaults' types."""
    parameters = _options_of(optimizer, given={"params", "lr", "weight_decay"})

    class Adapted(OptimizerPlugin):
        __doc__ = optimizer.__doc__
        Options = _make_options(optimizer.__name__, parameters)

        def build(self) -> tuple[type[Any], dict[str, Any]]:
            kwargs: dict[str, Any] = {"lr": self.args.learning_rate}
            names = {parameter.name for parameter in parameters}
            if "betas" in names:
                kwargs["betas"] = (self.args.adam_beta1, self.args.adam_beta2)
            if "eps" in names:
                kwargs["eps"] = self.args.adam_epsilon
            return optimizer, {**kwargs, **_given(self.options)}

    return _named(Adapted, optimizer)


def _adapt_schedule(function: Callable[..., Any]) -> type[SchedulerPlugin]:
    given = {"optimizer", "num_warmup_steps", "num_training_steps"}
    parameters = _options_of(function, given=given)
    wanted = given & set(inspect.signature(function).parameters)

    class Adapted(SchedulerPlugin):
        __doc__ = function.__doc__
        Options = _make_options(function.__name__, parameters)

        def create(self, optimizer: Any, num_warmup_steps: int, num_training_steps: int) -> Any:
            known = {
                "optimizer": optimizer,
                "num_warmup_steps": num_warmup_steps,
                "num_training_steps": num_training_steps,
            }
            return function(**{name: known[name] for name in wanted}, **_given(self.options))

    return _named(Adapted, function)


class _Unset:
    def __repr__(self) -> str:
        return "its own default"


_UNSET = _Unset()


def _options_of(function: Callable[..., Any], given: set[str]) -> list[inspect.Parameter]:
    return [
        parameter
        for parameter in inspect.signature(function).parameters.values()
        if parameter.name not in given
        and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    ]


def _make_options(name: str, parameters: list[inspect.Parameter]) -> type[Any]:
    """A dataclass with a field for each parameter; one that is left out is not passed on."""
    fields: list[Any] = [
        (parameter.name, Any)
        if parameter.default is parameter.empty
        else (parameter.name, Any, dataclasses.field(default=_UNSET))
        for parameter in parameters
    ]
    required_first = sorted(fields, key=len)
    return dataclasses.make_dataclass(f"{name}Options", required_first, frozen=True)


def _given(options: Any) -> dict[str, Any]:
    return {name: value for name, value in vars(options).items() if value is not _UNSET}


def _named(cls: type[Any], original: Any) -> type[Any]:
    cls.__name__ = cls.__qualname__ = original.__name__
    return cls

"""Classes and functions that are no plugins, made into ones: what a dotted path may lead to."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from drivetrain.plugin.part import Plugin
from drivetrain.plugin.reporter import CallbackReporter
from drivetrain.plugin.scheduler import SchedulerPlugin
from drivetrain.signature_options import given, make_options, parameters_of
from drivetrain_registry.kinds import OPTIMIZER, REPORTER, SCHEDULER, Kind


def adapt(kind: Kind, part: object) -> type[Plugin] | None:
    """A plugin class around a bare object, or None if there is no way to make one."""
    if kind == OPTIMIZER and isinstance(part, type) and _is_optimizer(part):
        from drivetrain.plugin.bare_optimizer import adapt_optimizer

        return _named(adapt_optimizer(part), part)
    if kind == SCHEDULER and inspect.isfunction(part):
        return _named(_adapt_schedule(part), part)
    if kind == REPORTER and isinstance(part, type) and _is_callback(part):
        return _named(_adapt_callback(part), part)
    return None


def describe(kind: Kind, base: type[Plugin]) -> str:
    """What a name of a kind may lead to, for error messages."""
    accepted = {
        OPTIMIZER: ", or a subclass of torch.optim.Optimizer",
        SCHEDULER: ", or a function of optimizer, num_warmup_steps and num_training_steps",
        REPORTER: ", or a callback class",
    }
    return f"it takes a subclass of drivetrain.plugin.{base.__name__}{accepted.get(kind, '')}"


def _is_callback(cls: type) -> bool:
    return all(callable(getattr(cls, event, None)) for event in ("on_train_begin", "on_log"))


def _adapt_callback(cls: type) -> type[CallbackReporter]:
    class Adapted(CallbackReporter):
        __doc__ = cls.__doc__
        callback_class = cls

    return Adapted


def _is_optimizer(cls: type) -> bool:
    from torch.optim import Optimizer

    return issubclass(cls, Optimizer) and cls is not Optimizer


def _adapt_schedule(function: Callable[..., Any]) -> type[SchedulerPlugin]:
    parameters = parameters_of(function)
    wanted = {"optimizer", "num_warmup_steps", "num_training_steps"} & parameters.keys()
    fields = [parameter for name, parameter in parameters.items() if name not in wanted]

    class Adapted(SchedulerPlugin):
        __doc__ = function.__doc__
        Options = make_options(function.__name__, fields)

        def create(self, optimizer: Any, num_warmup_steps: int, num_training_steps: int) -> Any:
            known = {
                "optimizer": optimizer,
                "num_warmup_steps": num_warmup_steps,
                "num_training_steps": num_training_steps,
            }
            return function(**{name: known[name] for name in wanted}, **given(self.options))

    return Adapted


def _named(cls: type[Any], original: Any) -> type[Any]:
    cls.__name__ = cls.__qualname__ = original.__name__
    return cls

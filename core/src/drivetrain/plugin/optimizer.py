"""The base class of optimizer plugins."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

from drivetrain.plugin.part import Plugin

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

Feature = Literal["gradient_accumulation", "gradient_clipping", "fp16", "several_processes"]
"""What an optimizer may not be able to be combined with."""


class OptimizerPlugin(Plugin):
    """Makes the optimizer of a run.

    A whole plugin; the entry point ``lion = "drivetrain_lion.optimizer:Lion"`` in the group
    ``drivetrain.optimizers`` makes it ``optim="lion"``::

        @dataclass(frozen=True)
        class LionOptions:
            betas: tuple[float, float] = (0.9, 0.99)

        class Lion(OptimizerPlugin):
            Options = LionOptions

            def build(self):
                return LionOptimizer, {"lr": self.args.learning_rate, "betas": self.options.betas}

    An optimizer that has methods ``train`` and ``eval`` is told by them when training and when an
    evaluation begins; weights can be swapped around evaluations with the hooks `on_evaluation_begin`
    and `on_evaluation_end`. A checkpoint gets the weights that the model has when it is saved.

    Attributes:
        cannot: What this optimizer cannot be combined with, and why. The arguments check refuses it.
        can_leave_out_bias_correction: It honours ``adam_bias_correction``. For any other optimizer that
            argument is one without a use.
        targets_modules: It works on the modules that ``optim_target_modules`` names. For any other
            optimizer that argument is one without a use.
    """

    cannot: ClassVar[Mapping[Feature, str]] = {}
    can_leave_out_bias_correction: ClassVar[bool] = False
    targets_modules: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        unknown = sorted(set(cls.cannot) - set(get_args(Feature)))
        if unknown:
            raise TypeError(
                f"`cannot` of {cls.__name__} names {', '.join(unknown)}; "
                f"known are {', '.join(get_args(Feature))}"
            )

    @abstractmethod
    def build(self) -> tuple[type[Optimizer], dict[str, Any]]:
        """Return the optimizer's class and the keyword arguments to make it with.

        The keyword arguments include ``lr``; weight decay is in the parameter groups.
        """
        raise NotImplementedError

    def group_parameters(self, model: nn.Module, groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Rearrange the parameter groups, or leave them.

        Args:
            model: The model that is trained.
            groups: Two groups of trainable parameters, each a dict with ``params`` (a list of
                tensors) and ``weight_decay``: first those that decay, then those that do not
                (biases and the weights of normalization layers).
        """
        return groups

    def create(self, model: nn.Module, groups: list[dict[str, Any]]) -> Optimizer:
        """Make the optimizer. Override it only if class, arguments and groups do not say it all."""
        cls, kwargs = self.build()
        return cls(self.group_parameters(model, groups), **kwargs)

    def problems(self) -> Iterable[str]:
        """What `cannot` rules out, if the arguments ask for it; an override adds to these."""
        yield from _refuse_combinations(self)

    def warnings(self) -> Iterable[str]:
        """Arguments without a use that were set, and clipping that is left out; an override adds to these."""
        yield from super().warnings()
        yield from _warn_of_unused(self)


def refuse_given_twice(plugin: OptimizerPlugin, **arguments_of: tuple[str, ...]) -> Iterable[str]:
    """One message for each option that overrides published arguments which were set to something, too.

    For use in `OptimizerPlugin.problems`: ``yield from refuse_given_twice(self, eps=("adam_epsilon",))``.

    Args:
        plugin: The plugin, one of whose options is None where the arguments hold.
        arguments_of: The arguments that each option overrides.
    """
    for option, arguments in arguments_of.items():
        value = getattr(plugin.options, option)
        for argument in arguments:
            if value is not None and not plugin.args.is_default(argument):
                yield (
                    f"`optim_args`: {option}={value} contradicts `{argument}`="
                    f"{getattr(plugin.args, argument)}. Leave out one of them."
                )


def _refuse_combinations(plugin: OptimizerPlugin) -> Iterable[str]:
    """One message for each thing in the arguments that the optimizer says it cannot be used with."""
    args, chosen = plugin.args, f"`optim`={plugin.name!r}"
    for feature, reason in plugin.cannot.items():
        because = f"cannot be combined with {chosen}: {reason}."
        if feature == "gradient_accumulation" and args.gradient_accumulation_steps > 1:
            steps = args.gradient_accumulation_steps
            yield (
                f"`gradient_accumulation_steps`: {steps} {because} "
                "Type gradient_accumulation_steps=1, or choose another optimizer."
            )
        if feature == "gradient_clipping" and _clips_on_request(plugin):
            yield (
                f"`max_grad_norm`: {args.max_grad_norm} {because} "
                "Type max_grad_norm=0, or choose another optimizer."
            )
        if feature == "fp16" and args.fp16:
            yield f"`fp16`: True {because} Type bf16=True, or choose another optimizer."
        if feature == "several_processes" and args.world_size > 1:
            yield f"`strategy`: {args.world_size} processes {because} Start one process."


def _warn_of_unused(plugin: OptimizerPlugin) -> Iterable[str]:
    args, chosen = plugin.args, f"`optim`={plugin.name!r}"
    honoured = {
        "adam_bias_correction": plugin.can_leave_out_bias_correction,
        "optim_target_modules": plugin.targets_modules,
    }
    for argument, is_honoured in honoured.items():
        if not is_honoured and not args.is_default(argument):
            value = getattr(args, argument)
            yield f"`{argument}`: {value!r} has no effect with {chosen}, which does not use it."
    if "gradient_clipping" in plugin.cannot and args.max_grad_norm > 0 and not _clips_on_request(plugin):
        reason = plugin.cannot["gradient_clipping"]
        yield (
            f"`max_grad_norm`: gradients are not clipped to the default of {args.max_grad_norm} with "
            f"{chosen}: {reason}. Type max_grad_norm=0 to say that you know."
        )


def _clips_on_request(plugin: OptimizerPlugin) -> bool:
    """Whether the user asked for clipping, rather than left the argument at its default."""
    return plugin.args.max_grad_norm > 0 and not plugin.args.is_default("max_grad_norm")

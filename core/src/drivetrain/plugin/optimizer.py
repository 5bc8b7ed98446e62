"""The base class of optimizer plugins."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

from drivetrain.plugin.part import Plugin

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

    from drivetrain.arguments import TrainingArguments

Feature = Literal["gradient_accumulation", "gradient_clipping", "fp16", "several_processes"]
"""What an optimizer may not be able to be combined with."""

Purpose = Literal[
    "first choice",
    "little memory",
    "no schedule",
    "no rate to find",
    "16-bit weights",
    "faster steps",
    "fewer steps",
    "other devices",
    "earlier results",
]
"""What people look for in an optimizer: the page that helps to choose one sorts by these."""


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

    An optimizer that has methods ``train`` and ``eval`` keeps two sets of weights, one to train and one
    to use (as schedule-free ones do): ``eval`` puts the second into the parameters, ``train`` the first; a
    second call in a row changes nothing. The trainer calls them around evaluations, predictions and saves,
    and at the end of training; how often it does has no influence on training, to the last bit.

    Attributes:
        paper: Where the method is described: ``"Decoupled Weight Decay Regularization, arXiv:1711.05101"``.
        state_bytes: Bytes of state for each parameter, of a 1024 x 1024 float32 matrix with the default
            options (and targeted, if the optimizer works on targets). None: not known.
        suits: What it is good for, as far as people look for that; see `Purpose`.
        cannot: What this optimizer cannot be combined with, and why. The arguments check refuses it.
        can_leave_out_bias_correction: It honours ``adam_bias_correction``. For any other optimizer that
            argument is one without a use.
        warms_up: It raises the rate by itself as `warmup_steps` says, whatever the schedule does.
        targets_modules: It works on the modules that ``optim_target_modules`` names. For any other
            optimizer that argument is one without a use.
    """

    paper: ClassVar[str] = ""
    state_bytes: ClassVar[float | None] = None
    suits: ClassVar[tuple[Purpose, ...]] = ()
    cannot: ClassVar[Mapping[Feature, str]] = {}
    can_leave_out_bias_correction: ClassVar[bool] = False
    targets_modules: ClassVar[bool] = False
    warms_up: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for attribute, known in {"cannot": get_args(Feature), "suits": get_args(Purpose)}.items():
            unknown = sorted(set(getattr(cls, attribute)) - set(known))
            if unknown:
                raise TypeError(
                    f"`{attribute}` of {cls.__name__} names {', '.join(unknown)}; "
                    f"known are {', '.join(known)}"
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
        yield from refuse_combinations(self.args, self.cannot, f"`optim`={self.name!r}")

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


def refuse_combinations(
    args: TrainingArguments, cannot: Mapping[Feature, str], chosen: str
) -> Iterable[str]:
    """One message for each thing in the arguments that an optimizer cannot be used with.

    Args:
        args: The arguments.
        cannot: What it cannot be combined with, and why.
        chosen: What the messages call it: ``"`optim`='lomo'"``.
    """
    for feature, reason in cannot.items():
        because = f"cannot be combined with {chosen}: {reason}."
        if feature == "gradient_accumulation" and args.gradient_accumulation_steps > 1:
            steps = args.gradient_accumulation_steps
            yield (
                f"`gradient_accumulation_steps`: {steps} {because} "
                "Type gradient_accumulation_steps=1, or choose another optimizer."
            )
        if feature == "gradient_clipping" and _clips_on_request(args):
            yield (
                f"`max_grad_norm`: {args.max_grad_norm} {because} "
                "Type max_grad_norm=0, or choose another optimizer."
            )
        if feature == "fp16" and (scaled := _find_scaling(args)):
            yield f"{scaled} {because} Type bf16=True in its place, or choose another optimizer."
        if feature == "several_processes" and args.world_size > 1:
            yield f"`strategy`: {args.world_size} processes {because} Start one process."


def _find_scaling(args: TrainingArguments) -> str:
    """What asks for a precision that scales losses, as messages begin; empty if nothing does."""
    from drivetrain.parts import load_precision

    precision = load_precision(args)
    asked = "True" if precision.option == precision.name else repr(precision.name)
    return f"`{precision.option}`: {asked}" if precision.scales_losses else ""


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
    if "gradient_clipping" in plugin.cannot and args.max_grad_norm > 0 and not _clips_on_request(args):
        reason = plugin.cannot["gradient_clipping"]
        yield (
            f"`max_grad_norm`: gradients are not clipped to the default of {args.max_grad_norm} with "
            f"{chosen}: {reason}. Type max_grad_norm=0 to say that you know."
        )


def _clips_on_request(args: TrainingArguments) -> bool:
    """Whether the user asked for clipping, rather than left the argument at its default."""
    return args.max_grad_norm > 0 and not args.is_default("max_grad_norm")

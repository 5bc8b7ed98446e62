"""torch's own optimizers: `adamw_torch`, `adamw_torch_fused`, `sgd`, `adagrad`, `rmsprop`.

Without options they are made with what the published trainer gives them and nothing else. An
option that is left at its default is not passed on, so torch's defaults hold.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch.optim import Optimizer

from drivetrain.plugin import AdamOptions, AdamPlugin, OptimizerPlugin

ADAM_ARGUMENTS = ("adam_beta1", "adam_beta2", "adam_epsilon")
"""Arguments that only Adam and its variants use."""


@dataclass(frozen=True)
class FusedAdamWOptions(AdamOptions):
    """Options of `adamw_torch_fused`: see `torch.optim.AdamW`."""

    amsgrad: bool = False
    maximize: bool = False
    capturable: bool = False


@dataclass(frozen=True)
class AdamWOptions(FusedAdamWOptions):
    """Options of `adamw_torch`."""

    foreach: bool | None = None


@dataclass(frozen=True)
class SGDOptions:
    """Options of `sgd`: see `torch.optim.SGD`."""

    momentum: float = 0.0
    dampening: float = 0.0
    nesterov: bool = False
    maximize: bool = False
    foreach: bool | None = None
    fused: bool | None = None

    def __post_init__(self) -> None:
        _require_share(self, momentum=0.9)
        if self.nesterov and (self.momentum == 0.0 or self.dampening != 0.0):
            raise ValueError(
                f"nesterov=True needs momentum above 0 and no dampening, and has momentum={self.momentum} "
                f"and dampening={self.dampening}: type momentum=0.9, nesterov=True."
            )
        if self.foreach and self.fused:
            raise ValueError("foreach=True and fused=True exclude each other: leave one out.")


@dataclass(frozen=True)
class AdagradOptions:
    """Options of `adagrad`: see `torch.optim.Adagrad`."""

    lr_decay: float = 0.0
    initial_accumulator_value: float = 0.0
    eps: float = 1e-10
    maximize: bool = False
    foreach: bool | None = None

    def __post_init__(self) -> None:
        _require_at_least_zero(self, "lr_decay", "initial_accumulator_value", "eps")


@dataclass(frozen=True)
class RMSpropOptions:
    """Options of `rmsprop`: see `torch.optim.RMSprop`."""

    alpha: float = 0.99
    eps: float = 1e-8
    momentum: float = 0.0
    centered: bool = False
    maximize: bool = False
    foreach: bool | None = None
    capturable: bool = False

    def __post_init__(self) -> None:
        _require_share(self, alpha=0.99, momentum=0.9)
        _require_at_least_zero(self, "eps")


class _AdamW(AdamPlugin):
    """AdamW, in whatever kernels."""

    paper = "Decoupled Weight Decay Regularization, arXiv:1711.05101"
    state_bytes = 8.0
    can_leave_out_bias_correction = True

    def build(self) -> tuple[type[Optimizer], dict[str, Any]]:
        """`torch.optim.AdamW` and its keyword arguments."""
        cls = torch.optim.AdamW if self.args.adam_bias_correction else UncorrectedAdamW
        return cls, {**self.adam_arguments(), **given(self.options)}

    def problems(self) -> Iterable[str]:
        """Refuse what torch would refuse at the first step."""
        yield from super().problems()
        yield from _refuse_capturable(self)


class AdamW(_AdamW):
    """AdamW (arXiv:1711.05101): `torch.optim.AdamW`."""

    Options = AdamWOptions
    suits = ("first choice",)


class FusedAdamW(_AdamW):
    """AdamW (arXiv:1711.05101) whose whole update is one kernel: `torch.optim.AdamW(fused=True)`."""

    Options = FusedAdamWOptions
    suits = ("faster steps",)

    def build(self) -> tuple[type[Optimizer], dict[str, Any]]:
        """`torch.optim.AdamW` and its keyword arguments."""
        cls, keywords = super().build()
        return cls, {**keywords, "fused": True}


class UncorrectedAdamW(torch.optim.AdamW):
    """AdamW whose moments are not divided by what they lack in the first updates.

    PyTorch has no such switch. The correction is 1 - beta^t, so an optimizer that takes itself to be at a
    late t does without it, in each of its implementations. (2^24 is where a float32 stops counting.)
    """

    _LATE = 2.0**24

    def __init__(self, params: Any, **kwargs: Any) -> None:
        super().__init__(params, **kwargs)
        for group in self.param_groups:
            if max(group["betas"]) ** self._LATE > 0.0:
                raise ValueError(
                    f"`adam_bias_correction`: False needs betas that fade within {self._LATE:.0f} updates; "
                    f"{max(group['betas'])} does not. Type adam_beta2=0.999."
                )

    def _init_group(self, group: dict[str, Any], *collected: Any) -> Any:
        fresh = [p for p in group["params"] if p.grad is not None and not self.state[p]]
        found = super()._init_group(group, *collected)  # type: ignore[no-untyped-call]
        for parameter in fresh:
            self.state[parameter]["step"].fill_(self._LATE)
        return found


class _PlainOptimizer(OptimizerPlugin):
    """An optimizer of torch that takes `learning_rate` and its options."""

    unused_arguments = ADAM_ARGUMENTS

    def _keywords(self) -> dict[str, Any]:
        return {"lr": self.args.learning_rate, **given(self.options)}

    def problems(self) -> Iterable[str]:
        """Refuse what torch would refuse at the first step."""
        yield from super().problems()
        yield from _refuse_capturable(self)


class SGD(_PlainOptimizer):
    """Stochastic gradient descent, with momentum if asked for: `torch.optim.SGD`."""

    Options = SGDOptions
    paper = "A Stochastic Approximation Method, Annals of Mathematical Statistics 22, 1951"
    state_bytes = 0.0
    suits = ("little memory",)

    def build(self) -> tuple[type[Optimizer], dict[str, Any]]:
        """`torch.optim.SGD` and its keyword arguments."""
        return torch.optim.SGD, self._keywords()


class Adagrad(_PlainOptimizer):
    """Adagrad (Duchi et al., JMLR 12, 2011): `torch.optim.Adagrad`."""

    Options = AdagradOptions
    paper = "Adaptive Subgradient Methods for Online Learning and Stochastic Optimization, JMLR 12, 2011"
    state_bytes = 4.0
    suits = ("earlier results",)

    def build(self) -> tuple[type[Optimizer], dict[str, Any]]:
        """`torch.optim.Adagrad` and its keyword arguments."""
        return torch.optim.Adagrad, self._keywords()


class RMSprop(_PlainOptimizer):
    """RMSprop (Hinton's lecture 6e, 2012): `torch.optim.RMSprop`."""

    Options = RMSpropOptions
    paper = "Neural Networks for Machine Learning, lecture 6e, Hinton 2012"
    state_bytes = 4.0
    suits = ("earlier results",)

    def build(self) -> tuple[type[Optimizer], dict[str, Any]]:
        """`torch.optim.RMSprop` and its keyword arguments."""
        return torch.optim.RMSprop, self._keywords()


def given(options: Any) -> dict[str, Any]:
    """The options that differ from their defaults."""
    values = {
        field.name: (getattr(options, field.name), field.default)
        for field in dataclasses.fields(options)
    }
    return {name: value for name, (value, default) in values.items() if value != default}


def _require_at_least_zero(options: Any, *names: str) -> None:
    for name in names:
        value = getattr(options, name)
        if value is not None and not value >= 0.0:
            raise ValueError(f"{name}={value} must be 0 or more.")


def _require_share(options: Any, **examples: float) -> None:
    """Refuse what is no share of a mean that is kept: with 1 or more it grows without end, or never moves."""
    for name, example in examples.items():
        value = getattr(options, name)
        if not 0.0 <= value < 1.0:
            raise ValueError(f"{name}={value} must be in [0, 1): type {name}={example}, say.")


def _refuse_capturable(plugin: OptimizerPlugin) -> Iterable[str]:
    """CUDA graphs exist on some devices only; torch says so at the first step, which is late."""
    device = plugin.args.device.type
    if getattr(plugin.options, "capturable", False) and device in ("cpu", "mps"):
        yield (
            f"`optim_args`: capturable=True is for CUDA graphs, and the run is on {device!r}. "
            "Leave capturable out."
        )

"""Lion, and the plugin that makes it ``optim="lion_template"``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch.optim import Optimizer

from drivetrain.plugin import OptimizerPlugin


class Lion(Optimizer):
    """Lion, from "Symbolic Discovery of Optimization Algorithms" (arXiv 2302.06675), algorithm 2.

    Every weight moves by the learning rate, up or down: the sign of an interpolation between momentum
    and gradient. So it wants a learning rate 3 to 10 times smaller than AdamW's, and a weight decay
    larger by as much. Its state is one tensor of each parameter's shape.

    Args:
        params: Parameters, or dicts with ``params`` and what differs for them.
        lr: The learning rate.
        betas: The share of the momentum in the interpolation, and the momentum's own decay.
        weight_decay: Decoupled weight decay, multiplied by the learning rate as in AdamW.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient; return what ``closure`` returned."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group)
        return loss

    def _update(self, parameter: torch.Tensor, gradient: torch.Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(parameter)
        momentum, (beta1, beta2) = state["momentum"], group["betas"]
        direction = torch.lerp(gradient, momentum, beta1).sign_()
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.add_(direction, alpha=-group["lr"])
        momentum.lerp_(gradient, 1 - beta2)


@dataclass(frozen=True)
class LionOptions:
    """What users may type in ``optim_args``, with types and defaults."""

    betas: tuple[float, float] = (0.9, 0.99)

    def __post_init__(self) -> None:
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas={self.betas!r} are not both in [0, 1): type betas=(0.9, 0.99).")


class LionTemplate(OptimizerPlugin):
    """Lion with the run's ``learning_rate`` and ``weight_decay``."""

    api_version = 1  # of drivetrain's plugin interface; another major version refuses this plugin
    Options = LionOptions
    paper = "Symbolic Discovery of Optimization Algorithms, arXiv:2302.06675"
    state_bytes = 4.0  # for each parameter of a 1024 x 1024 matrix, as the test kit measures it
    suits = ("little memory",)
    unused_arguments = ("adam_beta1", "adam_beta2", "adam_epsilon")

    def build(self) -> tuple[type[Optimizer], dict[str, Any]]:
        return Lion, {"lr": self.args.learning_rate, "betas": self.options.betas}

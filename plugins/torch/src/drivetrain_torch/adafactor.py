"""The optimizer `adafactor`: second moments of a matrix kept as one row and one column.

`torch.optim.Adafactor` cannot stand in for it: it always scales the step by the size of the
parameter and limits the rate to 1/sqrt(step), both of which the published trainer switches off.
This one is written from the paper, keeps its state under the names of transformers' Adafactor, and
has its rounding too, so that checkpoints and numbers move both ways.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from drivetrain.plugin import OptimizerPlugin
from drivetrain_torch.optimizers import ADAM_ARGUMENTS


@dataclass(frozen=True)
class AdafactorOptions:
    """Options of `adafactor`; the symbols are those of the paper.

    Attributes:
        eps: What is added to squared gradients (epsilon 1), and the least size that a parameter is
            held to have (epsilon 2, used by ``scale_parameter``).
        clip_threshold: The root mean square that an update is scaled down to (d).
        decay_rate: The second moments decay by 1 - step ** decay_rate.
        beta1: Decay of the first moment. None: there is none, which saves its memory.
        scale_parameter: Multiply the rate by the root mean square of the parameter.
        relative_step: Follow the paper's schedule, min(0.01, 1/sqrt(step)), instead of a rate.
        warmup_init: With ``relative_step``, start at 1e-6 * step.
    """

    eps: tuple[float, float] = (1e-30, 1e-3)
    clip_threshold: float = 1.0
    decay_rate: float = -0.8
    beta1: float | None = None
    scale_parameter: bool = False
    relative_step: bool = False
    warmup_init: bool = False

    def __post_init__(self) -> None:
        if min(self.eps) < 0.0:
            raise ValueError(f"eps={self.eps} must both be 0 or more: type eps=(1e-30, 1e-3), say.")
        if self.clip_threshold <= 0.0:
            raise ValueError(f"clip_threshold={self.clip_threshold} must be above 0: type 1.0, say.")
        if self.decay_rate > 0.0:
            raise ValueError(f"decay_rate={self.decay_rate} must be 0 or less: type -0.8, say.")
        if self.beta1 is not None and not 0.0 <= self.beta1 < 1.0:
            raise ValueError(f"beta1={self.beta1} must be in [0, 1), or None: type 0.9, say.")
        if self.warmup_init and not self.relative_step:
            raise ValueError(
                "warmup_init=True is part of the schedule of relative_step=True: type both, or neither."
            )


class Adafactor(OptimizerPlugin):
    """Adafactor (arXiv:1804.04235) at the rate that `learning_rate` and the schedule say."""

    Options = AdafactorOptions
    paper = "Adafactor: Adaptive Learning Rates with Sublinear Memory Cost, arXiv:1804.04235"
    state_bytes = 0.0078
    suits = ("little memory",)
    unused_arguments = ADAM_ARGUMENTS

    def build(self) -> tuple[type[Optimizer], dict[str, Any]]:
        return AdafactorOptimizer, {"lr": self.args.learning_rate, **asdict(self.options)}

    def problems(self) -> Iterable[str]:
        yield from super().problems()
        if self.options.relative_step and self.args.lr_scheduler_type != "constant":
            yield (
                "`optim_args`: relative_step=True makes the optimizer follow a schedule of its own, and "
                f"`lr_scheduler_type`={self.args.lr_scheduler_type!r} would have no effect. "
                "Type lr_scheduler_type='constant', or leave relative_step out."
            )

    def warnings(self) -> Iterable[str]:
        yield from super().warnings()
        if self.options.relative_step:
            yield (
                f"`learning_rate`: {self.args.learning_rate} is logged but not used: with "
                "relative_step=True the optimizer finds its rate from the number of updates."
            )


class AdafactorOptimizer(Optimizer):
    """Adafactor (arXiv:1804.04235, algorithms 4 and 5, with the decay of section 7.2).

    A tensor of two or more dimensions is taken as matrices in its last two, each of whose second
    moments are a row and a column; of other tensors they are kept whole. State and computation of
    parameters in half precision are in float32. Nothing is read back from the device.

    Args:
        params: Parameters, or groups of them.
        lr: The rate; ignored with ``relative_step``.
        weight_decay: Decoupled: each update first takes ``weight_decay * rate`` off the weights.

    The other arguments are those of `AdafactorOptions`.
    """

    def __init__(
        self,
        params: Any,
        lr: float | None = 1e-3,
        eps: tuple[float, float] = (1e-30, 1e-3),
        clip_threshold: float = 1.0,
        decay_rate: float = -0.8,
        beta1: float | None = None,
        weight_decay: float = 0.0,
        scale_parameter: bool = False,
        relative_step: bool = False,
        warmup_init: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "eps": eps,
            "clip_threshold": clip_threshold,
            "decay_rate": decay_rate,
            "beta1": beta1,
            "weight_decay": weight_decay,
            "scale_parameter": scale_parameter,
            "relative_step": relative_step,
            "warmup_init": warmup_init,
        }
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, group)
        return loss

    def _update(self, parameter: Tensor, group: dict[str, Any]) -> None:
        if parameter.grad is None or parameter.grad.is_sparse:
            raise RuntimeError(
                "`optim`: 'adafactor' cannot use sparse gradients. Make the embedding with sparse=False."
            )
        gradient = _widen(parameter.grad)
        weights = _widen(parameter)
        state = self.state[parameter]
        if not state:
            state.update(_initial_state(gradient, has_momentum=group["beta1"] is not None))
        state["step"] += 1
        state["RMS"] = _root_mean_square(weights)
        rate = _rate(group, state)

        update = _normalize(gradient, state, group)
        update.div_((_root_mean_square(update) / group["clip_threshold"]).clamp_(min=1.0))
        update.mul_(rate)
        if group["beta1"] is not None:
            update = state["exp_avg"].mul_(group["beta1"]).add_(update, alpha=1 - group["beta1"])
        if group["weight_decay"] != 0:
            _decay(weights, group["weight_decay"] * rate)
        weights.sub_(update)
        if weights is not parameter:
            parameter.copy_(weights)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state, in the precision in which it was saved.

        torch would round the state of half-precision parameters to their format.
        """
        super().load_state_dict(state_dict)
        numbers = (number for group in state_dict["param_groups"] for number in group["params"])
        parameters = (parameter for group in self.param_groups for parameter in group["params"])
        for number, parameter in zip(numbers, parameters, strict=True):
            for key, value in state_dict["state"].get(number, {}).items():
                if isinstance(value, Tensor):
                    self.state[parameter][key] = value.to(parameter.device, copy=True)


def _initial_state(gradient: Tensor, *, has_momentum: bool) -> dict[str, Any]:
    """Zeros: for shape (..., n, m) a row (..., n) and a column (..., m), else the whole shape."""
    state: dict[str, Any] = {"step": 0}
    if has_momentum:
        state["exp_avg"] = torch.zeros_like(gradient)
    if gradient.dim() >= 2:
        state["exp_avg_sq_row"] = torch.zeros_like(gradient[..., 0])
        state["exp_avg_sq_col"] = torch.zeros_like(gradient[..., 0, :])
    else:
        state["exp_avg_sq"] = torch.zeros_like(gradient)
    return state


def _rate(group: dict[str, Any], state: dict[str, Any]) -> float | Tensor:
    """The step size alpha: given or relative, and scaled by the size of the parameter if asked for."""
    rate: float = group["lr"]
    if group["relative_step"]:
        highest = 1e-6 * state["step"] if group["warmup_init"] else 1e-2
        rate = min(highest, 1.0 / math.sqrt(state["step"]))
    if not group["scale_parameter"]:
        return rate
    size: Tensor = state["RMS"]
    return size.clamp(min=group["eps"][1]) * rate


def _normalize(gradient: Tensor, state: dict[str, Any], group: dict[str, Any]) -> Tensor:
    """Take the gradient into the second moments, and divide it by their square root."""
    beta2 = 1.0 - math.pow(state["step"], group["decay_rate"])
    squared = gradient.square().add_(group["eps"][0])
    if gradient.dim() < 2:
        return _average(state["exp_avg_sq"], squared, beta2).rsqrt().mul_(gradient)
    row = _average(state["exp_avg_sq_row"], squared.mean(dim=-1), beta2)
    column = _average(state["exp_avg_sq_col"], squared.mean(dim=-2), beta2)
    # V = row column^T / mean(row), and so 1/sqrt(V) is the outer product of two vectors.
    row_factor = (row / row.mean(dim=-1, keepdim=True)).rsqrt_()
    return (row_factor.unsqueeze(-1) * column.rsqrt().unsqueeze(-2)).mul_(gradient)


def _average(average: Tensor, value: Tensor, decay: float) -> Tensor:
    return average.mul_(decay).add_(value, alpha=1.0 - decay)


def _decay(weights: Tensor, share: float | Tensor) -> None:
    """Take a share off the weights; both ways round alike, and neither waits for the device."""
    if isinstance(share, Tensor):
        weights.addcmul_(weights, -share)
    else:
        weights.add_(weights, alpha=-share)


def _root_mean_square(tensor: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(tensor)
    return norm / math.sqrt(tensor.numel())


def _widen(tensor: Tensor) -> Tensor:
    """The tensor itself, or its float32 copy if it is in half precision."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor

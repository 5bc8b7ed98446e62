"""The optimizer: APOLLO on groups with a rank, AdamW on the others."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.optim import Optimizer

from drivetrain_apollo.options import GROUP_SETTINGS
from drivetrain_apollo.projection import derive_seed, draw_axes, find_axes, is_left, project

logger = logging.getLogger(__name__)

GROWTH = 1.01
"""By how much the norm of an update may grow from one step to the next: gamma in the paper."""

SMALLEST = 1e-30
"""Keeps what divides by a norm finite, and is no gradient's norm."""


class Apollo(Optimizer):
    """APOLLO (arXiv:2412.05270), Algorithm 1, on matrices; AdamW (arXiv:1711.05101) on the rest.

    A group with a ``rank`` has all of `GROUP_SETTINGS`. Its gradients are projected into a small
    space where AdamW's moments are kept; the whole gradient is then scaled, channel by channel, by
    what AdamW does to its projection.

    The state of a parameter is made of tensors and numbers, and holds all that its next update
    depends on. The random axes of a small space are no part of it: their seed is.

    Args:
        params: Groups of parameters.
        lr: The rate of groups that have none of their own.
        betas: Decay of the first and the second moment.
        eps: Added to the root of the second moment.
        weight_decay: That of groups that have none of their own, times the rate, as in AdamW.
        seed: What all random axes follow from, together with the parameter's number.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        seed: int = 0,
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "seed": seed}
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group, whose parameters are numbered after those that are there."""
        super().add_param_group(param_group)
        self._number_parameters()

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._number_parameters()

    def _number_parameters(self) -> None:
        """Number them once, as a step may be made for some of them only."""
        self._numbers = {parameter: number for number, (parameter, _) in enumerate(self._parameters())}

    def _parameters(self) -> Iterator[tuple[torch.Tensor, dict[str, Any]]]:
        for group in self.param_groups:
            yield from ((parameter, group) for parameter in group["params"])

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update each parameter that has a gradient; return what ``closure`` did, if there is one."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for parameter, group in self._parameters():
            if parameter.grad is None:
                continue
            state = self.state[parameter]
            state["step"] = state.get("step", 0) + 1
            if "rank" in group:
                self._update_scaled(parameter, parameter.grad, state, group)
            else:
                _update_whole(parameter, parameter.grad, state, group)
        return loss

    def _update_scaled(
        self,
        parameter: torch.Tensor,
        gradient: torch.Tensor,
        state: dict[str, Any],
        group: dict[str, Any],
    ) -> None:
        """One update by APOLLO, in which the corrections of the moments' start count as part of the rate."""
        if "seed" not in state:
            state["seed"] = derive_seed(group["seed"], self._numbers[parameter])
        left = is_left(gradient.shape, group["proj_type"])
        small = project(gradient, _choose_axes(gradient, state, group, left=left), left=left)
        first, second = _advance_moments(small, state, group)
        adapted = first / (second.sqrt() + group["eps"])
        over = (0, 1) if group["scale_type"] == "tensor" else (0 if left else 1,)
        update = gradient * (_norm(adapted, over) / _norm(small, over).clamp_min(SMALLEST))
        if not group["disable_nl"]:
            _limit_growth(update, state)
        correction1, correction2 = _correct_start(state, group)
        size = group["lr"] * group["scale"] ** 0.5 * correction2**0.5 / correction1
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.add_(update, alpha=-size)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take back what ``state_dict`` gave, each tensor in the number format in which it was saved.

        torch would give it the format of its parameter, in which norms lose precision.
        """
        self._warn_of_other_settings(state_dict["param_groups"])
        super().load_state_dict(state_dict)
        keys = [key for group in state_dict["param_groups"] for key in group["params"]]
        for key, (parameter, _) in zip(keys, self._parameters(), strict=True):
            for name, value in state_dict["state"].get(key, {}).items():
                if isinstance(value, torch.Tensor):
                    self.state[parameter][name] = value.to(parameter.device, copy=True)

    def _warn_of_other_settings(self, saved_groups: list[dict[str, Any]]) -> None:
        """Say which options have no effect, since a state dict brings its own, as in all of torch."""
        others = {
            f"{name}={group[name]!r} has no effect on a run that goes on with {name}={saved[name]!r}"
            for saved, group in zip(saved_groups, self.param_groups, strict=False)
            for name in GROUP_SETTINGS
            if name in group and name in saved and group[name] != saved[name]
        }
        for text in sorted(others):
            logger.warning("`optim_args`: %s from its checkpoint. Type the latter, or start anew.", text)


def _choose_axes(
    gradient: torch.Tensor, state: dict[str, Any], group: dict[str, Any], *, left: bool
) -> torch.Tensor:
    """The axes of the small space at this step: new ones every ``update_proj_gap`` steps."""
    num_choices, since_last = divmod(state["step"] - 1, group["update_proj_gap"])
    if group["proj"] == "random":
        return draw_axes(gradient, group["rank"], derive_seed(state["seed"], num_choices), left=left)
    if since_last == 0:
        state["axes"] = find_axes(gradient, group["rank"], left=left)
    axes: torch.Tensor = state["axes"]
    return axes


def _advance_moments(
    gradient: torch.Tensor, state: dict[str, Any], group: dict[str, Any]
) -> tuple[torch.Tensor, torch.Tensor]:
    """AdamW's moments after this gradient, whose start at zero is not made up for."""
    beta1, beta2 = group["betas"]
    if "exp_avg" not in state:
        state["exp_avg"] = torch.zeros_like(gradient, memory_format=torch.contiguous_format)
        state["exp_avg_sq"] = torch.zeros_like(gradient, memory_format=torch.contiguous_format)
    state["exp_avg"].lerp_(gradient, 1 - beta1)
    state["exp_avg_sq"].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
    return state["exp_avg"], state["exp_avg_sq"]


def _correct_start(state: dict[str, Any], group: dict[str, Any]) -> tuple[float, float]:
    """What both moments are divided by, as they start at zero."""
    beta1, beta2 = group["betas"]
    return 1 - beta1 ** state["step"], 1 - beta2 ** state["step"]


def _norm(tensor: torch.Tensor, over: tuple[int, ...]) -> torch.Tensor:
    norm: torch.Tensor = torch.linalg.vector_norm(tensor, dim=over, keepdim=True, dtype=torch.float32)
    return norm


def _limit_growth(update: torch.Tensor, state: dict[str, Any]) -> None:
    """Scale an update down where its norm has grown too fast; after none or a zero one, let it pass."""
    norm = torch.linalg.vector_norm(update)
    last = state.get("norm", torch.zeros_like(norm))
    limit = torch.where(last > 0, GROWTH * last, torch.inf)
    update.mul_((limit / norm.clamp_min(SMALLEST)).clamp_max(1.0))
    state["norm"] = torch.minimum(norm, limit)


def _update_whole(
    parameter: torch.Tensor, gradient: torch.Tensor, state: dict[str, Any], group: dict[str, Any]
) -> None:
    """One update by AdamW, to the bit as `torch.optim.AdamW` makes it."""
    first, second = _advance_moments(gradient, state, group)
    correction1, correction2 = _correct_start(state, group)
    parameter.mul_(1 - group["lr"] * group["weight_decay"])
    spread = (second.sqrt() / correction2**0.5).add_(group["eps"])
    parameter.addcdiv_(first, spread, value=-group["lr"] / correction1)

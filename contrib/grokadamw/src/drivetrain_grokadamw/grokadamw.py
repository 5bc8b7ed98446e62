"""GrokAdamW: AdamW on gradients to which their own slow part is added."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

_LEAST_NORM = 1e-6
"""Added to norms that are divided by, as `torch.nn.utils.clip_grad_norm_` does."""


class GrokAdamW(Optimizer):
    """AdamW with Grokfast's filter (arXiv:2405.20233), as GrokAdamW's author describes it.

    In each update, of each parameter, the l-th of its group from 0::

        g   = gradient, its norm clipped to gradient_clipping
        a   = alpha_init * exp(-grokking_signal_decay_rate * grokking_signal)
        mu  = a * mu + (1 - a) * g                      the slow part of the gradients
        g'  = g + lamb * mu
        b   = betas[0] * (1 - gamma)^l
        m   = b * m + (1 - b) * g'
        v   = betas[1] * v + (1 - betas[1]) * g'^2
        w   = w - lr * (m / (1 - betas[0]^t) / (sqrt(v / (1 - betas[1]^t)) + eps) + weight_decay * w)

    With ``lamb``, ``gamma`` and ``gradient_clipping`` at 0 it is `torch.optim.AdamW`, to the last bit.

    Args:
        params: Parameters, or groups of them, in the order of the layers.
        lr: The rate.
        betas: How much of the means of gradients and of their squares each update keeps.
        eps: Added to the root of the second.
        weight_decay: Times the rate, what each update takes from a weight.
        alpha_init: How much of the slow part each update keeps, if there is no signal.
        lamb: What the slow part is multiplied by.
        gamma: By how much the first of ``betas`` falls from one parameter to the next.
        grokking_signal_decay_rate: How fast ``alpha_init`` falls with the signal.
        gradient_clipping: The largest norm of the gradient of one parameter; 0: any.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        *,
        alpha_init: float = 0.98,
        lamb: float = 2.0,
        gamma: float = 0.1,
        grokking_signal_decay_rate: float = 0.1,
        gradient_clipping: float = 1.0,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "alpha_init": alpha_init,
            "lamb": lamb,
            "gamma": gamma,
            "grokking_signal_decay_rate": grokking_signal_decay_rate,
            "gradient_clipping": gradient_clipping,
            "grokking_signal": 0.0,
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
            layers = {layer: p for layer, p in enumerate(group["params"]) if p.grad is not None}
            if layers:
                self._update(group, list(layers.values()), list(layers))
        return loss

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take back what `state_dict` gave.

        Raises:
            ValueError: The library `grokadamw` gave it. What it knows of a parameter is kept under a copy
                of that, and found by nobody: there, a run that is resumed has lost it.
        """
        if any("grokking_signal" not in group for group in state_dict["param_groups"]):
            raise ValueError(
                "it was saved by the library `grokadamw`, which keeps it in a way that even that cannot take "
                "up. To go on with the weights alone, load the checkpoint's model and call `train` without "
                "`resume_from_checkpoint`"
            )
        super().load_state_dict(state_dict)

    def _update(self, group: dict[str, Any], params: list[Tensor], layers: list[int]) -> None:
        states = [self._state_of(parameter) for parameter in params]
        momenta, variances, slow_parts = (
            [state[name] for state in states] for name in ("exp_avg", "exp_avg_sq", "grok_exp_avg")
        )
        lr, (beta1, beta2) = group["lr"], group["betas"]

        gradients = _clip([p.grad for p in params if p.grad is not None], group["gradient_clipping"])
        alpha = group["alpha_init"] * math.exp(
            -group["grokking_signal_decay_rate"] * group["grokking_signal"]
        )
        torch._foreach_lerp_(slow_parts, gradients, 1 - alpha)
        amplified = torch._foreach_add(gradients, slow_parts, alpha=group["lamb"])

        for momentum, gradient, layer in zip(momenta, amplified, layers, strict=True):
            momentum.lerp_(gradient, 1 - beta1 * (1 - group["gamma"]) ** layer)
        torch._foreach_mul_(variances, beta2)
        torch._foreach_addcmul_(variances, amplified, amplified, 1 - beta2)

        torch._foreach_add_([state["step"] for state in states], 1)
        steps = [state["step"].item() for state in states]
        denominators = torch._foreach_sqrt(variances)
        torch._foreach_div_(denominators, [(1 - beta2**step) ** 0.5 for step in steps])
        torch._foreach_add_(denominators, group["eps"])
        torch._foreach_mul_(params, 1 - lr * group["weight_decay"])
        torch._foreach_addcdiv_(params, momenta, denominators, [-lr / (1 - beta1**t) for t in steps])

    def _state_of(self, parameter: Tensor) -> dict[str, Tensor]:
        """The state of a parameter, made at its first update."""
        state: dict[str, Tensor] = self.state[parameter]
        if not state:
            state["step"] = torch.tensor(0.0, dtype=torch.float32)
            for name in ("exp_avg", "exp_avg_sq", "grok_exp_avg"):
                state[name] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
        return state


def set_signal(optimizer: Optimizer, signal: float) -> None:
    """Say how far generalization is behind, from now on; below 0 is 0. It is part of the state."""
    for group in optimizer.param_groups:
        group["grokking_signal"] = max(0.0, signal)


def _clip(gradients: list[Tensor], max_norm: float) -> list[Tensor]:
    """Gradients whose norms, each by itself, are at most ``max_norm``; any, if that is 0."""
    if max_norm == 0.0:
        return gradients
    norms = torch._foreach_norm(gradients)
    return [
        gradient * (max_norm / (norm + _LEAST_NORM)).clamp(max=1.0)
        for gradient, norm in zip(gradients, norms, strict=True)
    ]

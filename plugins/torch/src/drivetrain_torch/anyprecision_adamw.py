"""AdamW that computes in 32 bits and keeps its state, and what rounding takes, in chosen formats."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

_CHUNKS = {"cpu": 2**16}
_CHUNK = 2**24
"""Elements that are updated together: on a CPU so many that their copies in 32 bits stay in its cache;
elsewhere many more, which take fewer kernels, and still bound the memory for copies."""

_FORMATS = {
    "exp_avg": "momentum_dtype",
    "exp_avg_sq": "variance_dtype",
    "compensation": "compensation_buffer_dtype",
}
"""The settings that give each part of the state its format."""


class AnyPrecisionAdamW(Optimizer):
    """AdamW (arXiv:1711.05101) with state in chosen formats, and Kahan summation (arXiv:2010.06192).

    All is computed in float32 (float64 for weights in it), and rounded once when it is stored. With all
    formats at float32 and no Kahan summation it is `torch.optim.AdamW`, to the last bit.

    Args:
        params: Parameters, or groups of them.
        lr: The rate.
        betas: How much of the means of gradients and of their squares each update keeps.
        eps: Added to the root of the second.
        weight_decay: Times the rate, what each update takes from a weight.
        use_kahan_summation: Keep what rounding takes from each update, and add it to the next. Weight
            decay is part of the update.
        momentum_dtype: Format of the mean of the gradients: the name of a torch dtype.
        variance_dtype: Format of the mean of their squares.
        compensation_buffer_dtype: Format of what Kahan summation keeps.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        use_kahan_summation: bool = False,
        momentum_dtype: str = "float32",
        variance_dtype: str = "float32",
        compensation_buffer_dtype: str = "bfloat16",
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "use_kahan_summation": use_kahan_summation,
            "momentum_dtype": momentum_dtype,
            "variance_dtype": variance_dtype,
            "compensation_buffer_dtype": compensation_buffer_dtype,
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
            for chunk in _chunks(p for p in group["params"] if p.grad is not None):
                self._update(group, chunk)
        return loss

    def _update(self, group: dict[str, Any], params: list[Tensor]) -> None:
        """Update parameters of one device and format."""
        states = [self._state_of(parameter, group) for parameter in params]
        exact = torch.promote_types(params[0].dtype, torch.float32)
        gradients = [parameter.grad.to(exact) for parameter in params]  # type: ignore[union-attr]
        (beta1, beta2), lr, decay = group["betas"], group["lr"], group["weight_decay"]

        momenta = _read(states, "exp_avg", exact)
        torch._foreach_lerp_(momenta, gradients, 1 - beta1)
        _write(states, "exp_avg", momenta)
        variances = _read(states, "exp_avg_sq", exact)
        torch._foreach_mul_(variances, beta2)
        torch._foreach_addcmul_(variances, gradients, gradients, 1 - beta2)
        _write(states, "exp_avg_sq", variances)

        torch._foreach_add_([state["step"] for state in states], 1)
        steps = [state["step"].item() for state in states]
        denominators = torch._foreach_sqrt(variances)
        torch._foreach_div_(denominators, [(1 - beta2**step) ** 0.5 for step in steps])
        torch._foreach_add_(denominators, group["eps"])
        sizes = [-lr / (1 - beta1**step) for step in steps]

        weights = [parameter.to(exact) for parameter in params]
        if group["use_kahan_summation"]:
            updates = _read(states, "compensation", exact)
            torch._foreach_add_(updates, weights, alpha=-lr * decay)
            torch._foreach_addcdiv_(updates, momenta, denominators, sizes)
            _write(states, "compensation", _add_rounded(params, weights, updates))
        else:
            torch._foreach_mul_(weights, 1 - lr * decay)
            torch._foreach_addcdiv_(weights, momenta, denominators, sizes)
            _store(params, weights)

    def _state_of(self, parameter: Tensor, group: dict[str, Any]) -> dict[str, Tensor]:
        """The state of a parameter, with what it lacks made."""
        state: dict[str, Tensor] = self.state[parameter]
        if "step" not in state:
            state["step"] = torch.tensor(0.0, dtype=torch.float32)
        for name, setting in _FORMATS.items():
            if name not in state and (name != "compensation" or group["use_kahan_summation"]):
                dtype = getattr(torch, group[setting])
                state[name] = torch.zeros_like(
                    parameter, dtype=dtype, memory_format=torch.preserve_format
                )
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take back a state, in the formats that its groups name.

        torch's own would give it the formats of the weights, and take from it what those do not hold.
        """
        super().load_state_dict(state_dict)
        for group, saved_group in zip(self.param_groups, state_dict["param_groups"], strict=True):
            for parameter, key in zip(group["params"], saved_group["params"], strict=True):
                saved = state_dict["state"].get(key, {})
                for name in _FORMATS.keys() & saved.keys():
                    dtype = getattr(torch, group[_FORMATS[name]])
                    self.state[parameter][name] = saved[name].to(parameter.device, dtype, copy=True)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:  # those of another AdamW lack what only this one has
            for name in ("use_kahan_summation", *_FORMATS.values()):
                group.setdefault(name, self.defaults[name])


def _chunks(params: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """Parameters of one device and format, as many together as make a chunk."""
    by_kind: dict[tuple[torch.device, torch.dtype], list[Tensor]] = {}
    for parameter in params:
        by_kind.setdefault((parameter.device, parameter.dtype), []).append(parameter)
    for (device, _), alike in by_kind.items():
        chunk: list[Tensor] = []
        size, limit = 0, _CHUNKS.get(device.type, _CHUNK)
        for parameter in alike:
            if chunk and size + parameter.numel() > limit:
                yield chunk
                chunk, size = [], 0
            chunk.append(parameter)
            size += parameter.numel()
        yield chunk


def _read(states: list[dict[str, Tensor]], name: str, dtype: torch.dtype) -> list[Tensor]:
    """A part of each state in the format to compute in: the part itself, if that is its own."""
    return [state[name].to(dtype) for state in states]


def _write(states: list[dict[str, Tensor]], name: str, values: list[Tensor]) -> None:
    _store([state[name] for state in states], values)


def _store(targets: list[Tensor], values: list[Tensor]) -> None:
    """Round values into tensors, unless they are those very tensors."""
    if targets[0] is not values[0]:
        torch._foreach_copy_(targets, values)


def _add_rounded(params: list[Tensor], weights: list[Tensor], updates: list[Tensor]) -> list[Tensor]:
    """Add updates to parameters and return what rounding took from them.

    Args:
        params: The parameters.
        weights: The same values in the format that the updates are in.
        updates: What to add; changed in place.
    """
    dtype = params[0].dtype
    rounded = [total.to(dtype) for total in torch._foreach_add(weights, updates)]
    changes = torch._foreach_sub([value.to(updates[0].dtype) for value in rounded], weights)
    torch._foreach_sub_(updates, changes)
    torch._foreach_copy_(params, rounded)
    return updates

"""torchao's optimizers with a step that need not be compiled, and state that is made of plain data."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch.optim import Optimizer

from drivetrain.plugin import quietly
from drivetrain_torchao.library import (
    LibraryAdamW4bit,
    LibraryAdamW8bit,
    LibraryAdamWFp8,
    OptimState4bit,
    OptimState8bit,
    OptimStateFp8,
)

_FORMATS: dict[str, Any] = {"4bit": OptimState4bit, "8bit": OptimState8bit, "fp8": OptimStateFp8}

_SETTINGS = ("block_size", "bf16_stochastic_round")
"""What torchao keeps in attributes, for all groups; here each group says it too, and so a checkpoint does."""


class LowBitState(Optimizer):
    """Mixed in before an optimizer of torchao.

    A moment of few bits is, in ``state_dict()``, a dict with its codes, their scales and what else it
    consists of. torchao's own tensors cannot be copied, and can be read only where torchao is imported.

    Args:
        params: Parameters, or groups of them.
        is_compiled: Make the step with torch.compile, as torchao does.
        kwargs: What torchao's optimizer takes.
    """

    def __init__(self, params: Any, is_compiled: bool = True, **kwargs: Any) -> None:
        self.is_compiled = is_compiled
        self._has_stepped = False
        super().__init__(params, **kwargs)
        self.defaults.update(self._own_settings())
        self._complete_groups()

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update each parameter that has a gradient; return what ``closure`` did, if there is one.

        The closure is called apart from the step: a model that it calls stays compiled in any case.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            if not isinstance(
                group["lr"], torch.Tensor
            ):  # someone set it, or a state dict has brought it
                group["lr"] = torch.tensor(group["lr"], dtype=torch.float32)
        with self._way_of_stepping():
            super().step()
        self._has_stepped = True
        return loss

    def _way_of_stepping(self) -> AbstractContextManager[Any]:
        if self.is_compiled:  # torch warns of its own parts, and of torchao's that it cannot cache
            return nullcontext() if self._has_stepped else quietly()
        eager: AbstractContextManager[Any] = torch.compiler.set_stance("force_eager")
        return eager

    def state_dict(self) -> dict[str, Any]:
        """The state as torch's optimizers give it, made of plain data alone."""
        saved = super().state_dict()
        saved["state"] = {
            key: {name: _as_plain(value) for name, value in entry.items()}
            for key, entry in saved["state"].items()
        }
        return saved

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take back what `state_dict` gave, settings included. Moments stay in the format that they had."""
        super().load_state_dict({**state_dict, "state": {}})
        self._complete_groups()
        for name in _SETTINGS:
            setattr(self, name, self.param_groups[0][name])
        for saved, group in zip(state_dict["param_groups"], self.param_groups, strict=True):
            for key, parameter in zip(saved["params"], group["params"], strict=True):
                entry = state_dict["state"].get(key, {})
                for name, value in entry.items():
                    device = value.device if name == "step" else parameter.device
                    self.state[parameter][name] = _as_moment(value, device)

    def _own_settings(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in _SETTINGS}

    def _complete_groups(self) -> None:
        """Have the groups say the settings; those that torchao itself saved do not."""
        for group in self.param_groups:
            for name, value in self._own_settings().items():
                group.setdefault(name, value)


def _as_plain(value: Any) -> Any:
    for name, cls in _FORMATS.items():
        if isinstance(value, cls):
            parts, others = value.__tensor_flatten__()
            return {
                "format": name,
                "parts": {part: getattr(value, part) for part in parts},
                "others": [tuple(other) if isinstance(other, torch.Size) else other for other in others],
            }
    return value


def _as_moment(value: Any, device: torch.device) -> Any:
    """What `_as_plain` was given; tensors of torchao itself are taken as well."""
    if not isinstance(value, dict):
        return value.to(device)
    parts = {part: tensor.to(device, copy=True) for part, tensor in value["parts"].items()}
    return _FORMATS[value["format"]].__tensor_unflatten__(parts, value["others"])


class AdamW4bit(LowBitState, LibraryAdamW4bit):  # type: ignore[misc]
    """`torchao.optim.AdamW4bit`."""


class AdamW8bit(LowBitState, LibraryAdamW8bit):  # type: ignore[misc]
    """`torchao.optim.AdamW8bit`."""


class AdamWFp8(LowBitState, LibraryAdamWFp8):  # type: ignore[misc]
    """`torchao.optim.AdamWFp8`."""

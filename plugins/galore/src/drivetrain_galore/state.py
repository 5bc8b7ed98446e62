"""The optimizers of galore-torch with state that is loaded without unpickling, and resumes exactly."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.optim import Optimizer

from drivetrain_galore.library import BitsAndBytesAdamW, GaLoreProjector, LibraryAdafactor, LibraryAdamW
from drivetrain_galore.projector import SETTINGS, make_projector, read_projector, write_projector

logger = logging.getLogger(__name__)


class PlainState(Optimizer):
    """Mixed in before an optimizer of galore-torch: no projector object in ``state_dict()``.

    A parameter's entry holds ``"projector"`` as a dict of tensors, numbers and texts, which
    ``torch.load(weights_only=True)`` reads.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update each parameter that has a gradient; return what ``closure`` did, if there is one."""
        loss = None
        if closure is not None:
            with torch.enable_grad():  # galore-torch calls it without
                loss = closure()
        for group, parameter in self._projected():
            if parameter.grad is not None and "projector" not in self.state[parameter]:
                self.state[parameter]["projector"] = make_projector(group)
        super().step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        """The state as torch's optimizers give it, made of plain data alone."""
        saved = super().state_dict()
        saved["state"] = {
            key: {name: _as_plain(value) for name, value in entry.items()}
            for key, entry in saved["state"].items()
        }
        return saved

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take back what `state_dict` gave, each tensor in the number format in which it was saved.

        torch would give it the format of its parameter, with which Adafactor's statistics of a
        bfloat16 weight lose precision.
        """
        self._warn_of_other_settings(state_dict["param_groups"])
        super().load_state_dict({**state_dict, "state": _without_projectors(state_dict["state"])})
        for key, parameter in self._numbered(state_dict["param_groups"]):
            for name, value in state_dict["state"].get(key, {}).items():
                if name == "projector":
                    self.state[parameter][name] = read_projector(value, parameter.device)
                elif isinstance(value, torch.Tensor):
                    self.state[parameter][name] = value.to(parameter.device, copy=True)

    def _projected(self) -> Iterator[tuple[dict[str, Any], torch.Tensor]]:
        """Each parameter whose gradients are projected, with its group."""
        for group in self.param_groups:
            if "rank" in group:
                yield from ((group, parameter) for parameter in group["params"])

    def _numbered(self, saved_groups: list[dict[str, Any]]) -> Iterator[tuple[int, torch.Tensor]]:
        """Each parameter with its number in a state dict."""
        for saved, group in zip(saved_groups, self.param_groups, strict=True):
            yield from zip(saved["params"], group["params"], strict=True)

    def _warn_of_other_settings(self, saved_groups: list[dict[str, Any]]) -> None:
        """Say which options have no effect, since a state dict brings its own, as in all of torch."""
        others = {
            f"{name}={group[name]!r} has no effect on a run that goes on with {name}={saved[name]!r}"
            for saved, group in zip(saved_groups, self.param_groups, strict=False)
            for name in SETTINGS
            if name in group and name in saved and group[name] != saved[name]
        }
        for text in sorted(others):
            logger.warning("`optim_args`: %s from its checkpoint. Type the latter, or start anew.", text)


def _as_plain(value: Any) -> Any:
    return write_projector(value) if isinstance(value, GaLoreProjector) else value


def _without_projectors(state: dict[int, dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """Projectors are read apart: torch's loading breaks texts and casts matrices."""
    return {
        key: {name: value for name, value in entry.items() if name != "projector"}
        for key, entry in state.items()
    }


class AdamW(PlainState, LibraryAdamW):  # type: ignore[misc]
    """`galore_torch.GaLoreAdamW`."""


class Adafactor(PlainState, LibraryAdafactor):  # type: ignore[misc]
    """`galore_torch.GaLoreAdafactor`."""


class AdamW8bit(PlainState, BitsAndBytesAdamW):  # type: ignore[misc]
    """What `galore_torch.GaLoreAdamW8bit` computes, on any device that bitsandbytes updates on.

    The library's own calls CUDA wherever it runs, hands arguments by position to a constructor of
    bitsandbytes that has other ones by now (``percentile_clipping=100`` arrives as ``max_unorm``,
    ``block_wise=True`` as ``skip_zeros``), and leaves the projected gradient, of another shape than
    the weight, on the parameter. Here bitsandbytes updates a matrix of zeros from the projected
    gradient, and what that has become is projected back.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        min_8bit_size: int = 4096,
    ) -> None:
        initialize: Any = super().__init__
        initialize(
            params,
            lr=lr,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            optim_bits=8,
            min_8bit_size=min_8bit_size,
        )

    def update_step(
        self, group: dict[str, Any], parameter: torch.Tensor, group_index: int, index: int
    ) -> None:
        """One update of one parameter, called by the step of bitsandbytes."""
        if "rank" not in group:
            super().update_step(group, parameter, group_index, index)
            return
        state = self.state[parameter]
        projector = state["projector"]
        gradient = projector.project(parameter.grad, state.get("step", 0))
        small = torch.zeros_like(gradient, dtype=parameter.dtype)
        small.grad = gradient
        self.state[small] = state
        if "state1" not in state:
            self.init_state(group, small, group_index, index)
        super().update_step({**group, "weight_decay": 0.0}, small, group_index, index)
        del self.state[small]
        parameter.add_(projector.project_back(small))
        parameter.add_(parameter, alpha=-group["lr"] * group["weight_decay"])

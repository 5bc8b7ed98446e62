"""The optimizers of bitsandbytes, with parameters in 32 bits of their own and plain checkpoints."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from drivetrain_bitsandbytes.library import (
    LibraryAdamW,
    LibraryAdEMAMix,
    LibraryLion,
    LibraryRMSprop,
    Optimizer8bit,
)


class PlainState(Optimizer8bit):  # type: ignore[misc]
    """Mixed in before an optimizer of bitsandbytes.

    Which parameters keep 32 bits is known to this optimizer alone: bitsandbytes' own way of saying it, the
    ``GlobalOptimManager``, holds for all optimizers of the process, and for as long as it lives.
    """

    _in_32_bits: frozenset[tuple[int, int]] = frozenset()

    def keep_in_32_bits(self, parameters: Iterable[torch.Tensor]) -> None:
        """Give these parameters, as far as this optimizer has them, state in 32 bits.

        To be called before the first update; a state that is there keeps its format.
        """
        chosen = {id(parameter) for parameter in parameters}
        self._in_32_bits = frozenset(
            (group_index, index)
            for group_index, group in enumerate(self.param_groups)
            for index, parameter in enumerate(group["params"])
            if id(parameter) in chosen
        )

    @property
    def keeps_in_32_bits(self) -> bool:
        """Whether it was told of any."""
        return bool(self._in_32_bits)

    def get_config(self, gindex: int, pindex: int, group: dict[str, Any]) -> dict[str, Any]:
        """Settings for one parameter, by the number of its group and its number in it."""
        config: dict[str, Any] = super().get_config(gindex, pindex, group)
        if (gindex, pindex) in self._in_32_bits:
            config["optim_bits"] = 32
        return config

    def state_dict(self) -> dict[str, Any]:
        """The state as bitsandbytes gives it, without its marks on tensors that are paged.

        Tensors are saved with their attributes, and one that is marked would be taken for paged memory
        wherever it is loaded.
        """
        saved: dict[str, Any] = super().state_dict()
        if self.is_paged:
            saved["state"] = {key: _detach(entry) for key, entry in saved["state"].items()}
        return saved

    def load_state_dict(self, state_dict: dict[str, Any], move_to_device: bool = True) -> None:
        """Take back what `state_dict` gave, into paged memory where this optimizer has some."""
        super().load_state_dict(state_dict, move_to_device=move_to_device and not self.is_paged)
        if self.is_paged:
            self._move_to_pages()

    def _move_to_pages(self) -> None:
        """Copy each loaded state into the memory that bitsandbytes would make for it."""
        for group_index, group in enumerate(self.param_groups):
            for index, parameter in enumerate(group["params"]):
                loaded = self.state.pop(parameter, None)
                if loaded:
                    self.init_state(group, parameter, group_index, index)
                    fresh = self.state[parameter]
                    self.state[parameter] = {
                        name: _fill(fresh.get(name), value, parameter.device)
                        for name, value in loaded.items()
                    }


def _detach(value: Any) -> Any:
    """The same data in tensors without attributes."""
    if isinstance(value, torch.Tensor):
        return value.detach()
    if isinstance(value, dict):
        return {name: _detach(inner) for name, inner in value.items()}
    return value


def _fill(buffer: Any, value: Any, device: torch.device) -> Any:
    """``value`` in ``buffer`` if it fits there, else on ``device``."""
    if not isinstance(value, torch.Tensor):
        return value
    if buffer is not None and (buffer.shape, buffer.dtype) == (value.shape, value.dtype):
        return buffer.copy_(value)
    return value.to(device)


class AdamW(PlainState, LibraryAdamW):  # type: ignore[misc]
    """`bitsandbytes.optim.AdamW`."""


class Lion(PlainState, LibraryLion):  # type: ignore[misc]
    """`bitsandbytes.optim.Lion`."""


class AdEMAMix(PlainState, LibraryAdEMAMix):  # type: ignore[misc]
    """`bitsandbytes.optim.AdEMAMix`."""


class RMSprop(PlainState, LibraryRMSprop):  # type: ignore[misc]
    """`bitsandbytes.optim.RMSprop`."""

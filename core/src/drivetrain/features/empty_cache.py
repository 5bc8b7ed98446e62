"""`torch_empty_cache_steps`: give unused memory of the accelerator back every so many updates."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import torch

from drivetrain.hookspecs import hookimpl
from drivetrain.plugin.part import Plugin

if TYPE_CHECKING:
    from drivetrain.state import TrainerState


class EmptyCache(Plugin):
    """Empties the cache of torch's allocator, which otherwise keeps what it once got."""

    def warnings(self) -> Iterable[str]:
        """Say that there is nothing to empty on the CPU."""
        yield from super().warnings()
        if _find_empty_cache(self.args.device) is None:
            yield (
                f"`torch_empty_cache_steps`: {self.args.torch_empty_cache_steps} has no effect on "
                f"{self.args.device}, for which torch keeps no cache."
            )

    @hookimpl
    def on_step_end(self, state: TrainerState) -> None:
        """Empty the cache if it is time."""
        assert self.args.torch_empty_cache_steps is not None
        empty = _find_empty_cache(self.args.device)
        if empty is not None and state.global_step % self.args.torch_empty_cache_steps == 0:
            empty()


def _find_empty_cache(device: torch.device) -> Callable[[], None] | None:
    """``torch.<device>.empty_cache``, or None where torch has none."""
    found: Callable[[], None] | None = getattr(getattr(torch, device.type, None), "empty_cache", None)
    return found

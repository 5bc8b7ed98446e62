"""The base class of precision plugins."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, ClassVar

from drivetrain.plugin.part import Plugin

if TYPE_CHECKING:
    import torch
    from torch.optim import Optimizer


_NOTHING: nullcontext[None] = nullcontext()
"""One for all: it is entered for each micro-batch."""


class PrecisionPlugin(Plugin):
    """Decides in which number format a run computes. By default: in that of the parameters.

    A whole plugin, for the entry-point group ``drivetrain.precisions``::

        class BFloat16(PrecisionPlugin):
            def autocast(self, device, cache_enabled=True):
                return torch.autocast(device.type, torch.bfloat16, cache_enabled=cache_enabled)

    Attributes:
        float32_outputs: What the model returns in a 16-bit format is handed on in float32, so that
            losses and metrics outside of the model are computed in it.
        scales_losses: Gradients are scaled between `scaled` and `unscale`, so that no optimizer may step
            inside backward.
    """

    float32_outputs: ClassVar[bool] = False
    scales_losses: ClassVar[bool] = False

    def autocast(self, device: torch.device, cache_enabled: bool = True) -> AbstractContextManager[Any]:
        """The context in which the forward pass and the loss are computed."""
        return _NOTHING

    def scale(self, loss: torch.Tensor) -> torch.Tensor:
        """The loss to call ``backward`` on; a scalar tensor."""
        return loss

    def scaled(self, loss: torch.Tensor) -> AbstractContextManager[torch.Tensor]:
        """The context of a backward pass, which gives the loss to call ``backward`` on: `scale`'s."""
        return nullcontext(self.scale(loss))

    def updated_parameters(
        self, optimizer: Optimizer, parameters: Iterable[torch.Tensor]
    ) -> Iterable[torch.Tensor]:
        """The tensors whose gradients are clipped: the model's parameters, or what stands in for them.

        Args:
            optimizer: What updates them.
            parameters: Those of the model.
        """
        return parameters

    def unscale(self, optimizer: Optimizer) -> None:
        """Undo the scaling in the gradients, before they are clipped. Once an update."""

    def step(self, optimizer: Optimizer) -> bool:
        """Step the optimizer.

        Returns:
            Whether it was stepped: an update whose gradients overflowed is left out, and so is the
            step of the schedule.
        """
        optimizer.step()
        return True

    def state_dict(self) -> dict[str, Any]:
        """What to keep in a checkpoint (``scaler.pt``): tensors and numbers. Empty: no file."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what `state_dict` gave."""

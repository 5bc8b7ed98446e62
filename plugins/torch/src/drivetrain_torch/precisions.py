"""The precisions `no`, `bf16` and `fp16`: torch's automatic mixed precision."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from functools import cached_property
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from drivetrain.plugin import PrecisionPlugin, UsageError, hookimpl


class FullPrecision(PrecisionPlugin):
    """Computes in the number format that the parameters have."""


class BFloat16(PrecisionPlugin):
    """Computes in bfloat16 where torch's autocast holds that safe; parameters stay as they are."""

    float32_outputs = True

    def autocast(self, device: torch.device, cache_enabled: bool = True) -> AbstractContextManager[Any]:
        """Autocast to bfloat16."""
        return torch.autocast(device.type, dtype=torch.bfloat16, cache_enabled=cache_enabled)

    def problems(self) -> Iterable[str]:
        """Refuse a device that cannot compute in bfloat16."""
        device = self.args.device
        if not _can_bfloat16(device, emulated=True):
            instead = "fp16=True" if device.type == "cuda" else "precision='no'"
            yield (
                f"`bf16`: True needs a device that computes in bfloat16, and {_describe(device)} does not. "
                f"Type {instead} instead, or use_cpu=True."
            )

    def warnings(self) -> Iterable[str]:
        """Say that a GPU only emulates bfloat16."""
        device = self.args.device
        if _can_bfloat16(device, emulated=True) and not _can_bfloat16(device, emulated=False):
            yield (
                f"`bf16`: {_describe(device)} does not compute in bfloat16; torch emulates it, which is "
                "slower than float32. Type fp16=True instead."
            )


class Float16(PrecisionPlugin):
    """Computes in float16 where torch's autocast holds that safe, and scales the loss.

    The scale starts at 65536, halves whenever gradients overflow (that update is left out) and
    doubles after 2000 updates that did not: `torch.amp.GradScaler`.
    """

    float32_outputs = True
    scales_losses = True
    _scale_after_update: float | None = None

    @cached_property
    def _scaler(self) -> torch.amp.GradScaler:
        return torch.amp.GradScaler(self.args.device.type)

    def autocast(self, device: torch.device, cache_enabled: bool = True) -> AbstractContextManager[Any]:
        """Autocast to float16."""
        return torch.autocast(device.type, dtype=torch.float16, cache_enabled=cache_enabled)

    def scale(self, loss: torch.Tensor) -> torch.Tensor:
        """Multiply the loss by the current scale."""
        return self._scaler.scale(loss)

    def unscale(self, optimizer: Optimizer) -> None:
        """Divide the gradients by the scale, and note whether one is not finite."""
        self._scaler.unscale_(optimizer)

    def step(self, optimizer: Optimizer) -> bool:
        """Step the optimizer if all gradients are finite, and adapt the scale.

        Raises:
            FloatingPointError: The scale fell to 0, from where it cannot rise again.
        """
        if getattr(optimizer, "_step_supports_amp_scaling", False):
            is_stepped = self._step_fused(optimizer)
        else:
            is_stepped = self._step_or_skip(optimizer)
        if not is_stepped and self._scaler.get_scale() == 0.0:
            raise FloatingPointError(
                "`fp16`: the gradients overflowed in every update until the loss scale reached 0; "
                "nothing is learned any more. The loss or the gradients are not finite whatever their "
                "scale. Type bf16=True or precision='no', or look for what makes the loss infinite."
            )
        return is_stepped

    def _step_or_skip(self, optimizer: Optimizer) -> bool:
        """The scaler calls the optimizer or does not: what it did is seen without asking the device."""
        calls: list[None] = []
        hook = optimizer.register_step_post_hook(lambda *_: calls.append(None))
        try:
            self._scaler.step(optimizer)
        finally:
            hook.remove()
        self._scaler.update()
        return bool(calls)

    def _step_fused(self, optimizer: Optimizer) -> bool:
        """A fused optimizer leaves out the update on the device: only the new scale tells."""
        before = self._scale_after_update
        if before is None:
            before = self._scaler.get_scale()
        self._scaler.step(optimizer)
        self._scaler.update()
        self._scale_after_update = self._scaler.get_scale()
        return self._scale_after_update >= before

    def state_dict(self) -> dict[str, Any]:
        """The scale, how it changes, and the number of updates since it last did."""
        return self._scaler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with a saved scale."""
        self._scaler.load_state_dict(state)
        self._scale_after_update = None

    @hookimpl
    def alter_model(self, model: nn.Module) -> None:
        """Refuse trainable weights in float16, whose gradients cannot be scaled back."""
        halves = [
            name for name, p in model.named_parameters() if p.requires_grad and p.dtype == torch.half
        ]
        if halves:
            raise UsageError(
                f"`fp16`: True needs the trained weights in float32 and computes with them in float16; "
                f"{len(halves)} of them are stored in float16, such as {halves[0]!r}. Load the model in "
                "float32, or type model.float() before you pass it."
            )

    def problems(self) -> Iterable[str]:
        """Refuse Apple GPUs with a torch that cannot scale a loss on them."""
        if self.args.device.type == "mps" and torch.__version__ < "2.8":
            yield (
                f"`fp16`: True needs torch 2.8 or newer on Apple GPUs, and {torch.__version__} is installed. "
                "Type: pip install 'torch>=2.8', or leave fp16 out."
            )


def _can_bfloat16(device: torch.device, *, emulated: bool) -> bool:
    """Whether a device computes in bfloat16, or (``emulated``) torch does it some way or other."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=emulated))
    if device.type == "mps":
        return bool(torch.backends.mps.is_macos_or_newer(14, 0))
    return True


def _describe(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"the device {str(device)!r}"

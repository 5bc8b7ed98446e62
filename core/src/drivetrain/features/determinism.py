"""`tf32`: whether NVIDIA GPUs multiply 32-bit numbers with 10 bits of mantissa, which is faster."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from drivetrain.hookspecs import hookimpl
from drivetrain.plugin.part import Plugin

_FIRST_WITH_TF32 = (8, 0)  # compute capability of Ampere


class TensorFloat32(Plugin):
    """Sets torch's switches for TensorFloat-32, for the whole process and for good."""

    def problems(self) -> Iterable[str]:
        """Refuse `tf32=True` where nothing computes in that format. False can be had everywhere."""
        if not self.args.tf32:
            return
        device = self.args.device
        hint = "Leave `tf32` out, or type tf32=False."
        if device.type != "cuda":
            yield f"`tf32`: True is for NVIDIA GPUs from Ampere on, and this run computes on {device}. {hint}"
        elif not _has_tf32(device):
            name = torch.cuda.get_device_name(device)
            yield f"`tf32`: True is for NVIDIA GPUs from Ampere on, and {device} is a {name}. {hint}"

    @hookimpl
    def on_init_end(self) -> None:
        """Set the switches of matrix products and of cuDNN.

        These two and not ``fp32_precision``, which torch 2.9 introduced beside them: where that was set,
        everyone who still reads these gets an error from torch. Setting these keeps both readable.
        """
        torch.backends.cuda.matmul.allow_tf32 = bool(self.args.tf32)
        torch.backends.cudnn.allow_tf32 = bool(self.args.tf32)


def _has_tf32(device: torch.device) -> bool:
    is_nvidia = torch.version.hip is None
    return is_nvidia and torch.cuda.get_device_capability(device) >= _FIRST_WITH_TF32

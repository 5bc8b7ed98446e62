"""What this plugin uses of bitsandbytes, imported without its noise, and what that can do on a device.

bitsandbytes logs that a kernel for 4-bit inference is not installed, and imports code of torch that
torch warns of. Optimizers have no use for either. What it logs as an error still gets through.
"""

from __future__ import annotations

import torch

from drivetrain.plugin import quietly

with quietly("bitsandbytes"):
    import bitsandbytes
    from bitsandbytes.cextension import lib as native_library
    from bitsandbytes.optim import AdamW as LibraryAdamW
    from bitsandbytes.optim import AdEMAMix as LibraryAdEMAMix
    from bitsandbytes.optim import Lion as LibraryLion
    from bitsandbytes.optim import RMSprop as LibraryRMSprop
    from bitsandbytes.optim.optimizer import Optimizer8bit

__all__ = [
    "LibraryAdEMAMix",
    "LibraryAdamW",
    "LibraryLion",
    "LibraryRMSprop",
    "Optimizer8bit",
    "find_obstacle",
    "has_kernel",
]

_OPERATORS = {
    8: "bitsandbytes::optimizer_update_8bit_blockwise",
    32: "bitsandbytes::optimizer_update_32bit",
}
_FOR_ANY_DEVICE = "CompositeExplicitAutograd"


def find_obstacle(bits: int, device: torch.device) -> str | None:
    """Why bitsandbytes as it is installed cannot update on a device, or None if it can."""
    version = bitsandbytes.__version__
    if not has_kernel(bits, device):
        return f"bitsandbytes {version} has no {bits}-bit optimizers for it"
    if device.type == "cuda" and not native_library.compiled_with_cuda:
        toolkit = torch.version.hip or torch.version.cuda
        return (
            f"bitsandbytes {version} could load none of its libraries for CUDA or ROCm {toolkit} "
            "(python -m bitsandbytes says why)"
        )
    return None


def has_kernel(bits: int, device: torch.device) -> bool:
    """Whether torch would find code of bitsandbytes for an update on a device.

    Args:
        bits: Of the optimizer's state, 8 or 32. Where the state is in 8 bits, some small parts are in 32.
        device: Where the parameters are.
    """
    try:
        keys = (torch._C._dispatch_key_for_device(device.type), _FOR_ANY_DEVICE)
    except RuntimeError:  # a device that torch learns of from another package
        keys = ("PrivateUse1", _FOR_ANY_DEVICE)
    has = torch._C._dispatch_has_kernel_for_dispatch_key
    return any(has(_OPERATORS[bits], key) for key in keys)

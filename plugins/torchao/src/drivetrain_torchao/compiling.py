"""Whether torch.compile, which torchao's optimizers make their step with, can work on this machine."""

from __future__ import annotations

import os
import shutil
import sys
from importlib.util import find_spec

import torch


def find_obstacle(device: torch.device) -> str | None:
    """What is in the way of compiling a step for ``device``: a clause; None if nothing is.

    Nothing is compiled to find out. A step for any device has a part on the CPU (the count of updates
    and the rate), so that a C++ compiler is always needed.
    """
    for variable in ("TORCH_COMPILE_DISABLE", "TORCHDYNAMO_DISABLE"):
        if os.environ.get(variable) == "1":
            return f"the environment has {variable}=1"
    compiler = os.environ.get("CXX") or _default_compiler()
    if shutil.which(compiler) is None:
        return f"there is no C++ compiler ({compiler}; the variable CXX may name another)"
    if device.type == "cuda" and find_spec("triton") is None:
        return "triton is not installed, with which torch.compile makes kernels for CUDA"
    return None


def find_float8_obstacle(device: torch.device) -> str | None:
    """The same for steps that convert to float8."""
    if device.type == "cuda" and torch.cuda.get_device_capability(device) < (8, 9):
        return f"compiled kernels with float8 need compute capability 8.9, which {device} has not"
    return find_obstacle(device)


def _default_compiler() -> str:
    return {"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++")

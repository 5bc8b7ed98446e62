"""The suite for each of the precisions beside this file."""

from __future__ import annotations

import broken_precisions
import torch

from drivetrain.testing import PrecisionSuite


class TestSound(PrecisionSuite):
    name = "Sound"
    dtype = torch.bfloat16


for name, part in vars(broken_precisions).items():
    if isinstance(part, type) and issubclass(part, broken_precisions.Sound):
        attributes = {"name": name, "__module__": __name__}
        globals().setdefault(f"Test{name}", type(f"Test{name}", (TestSound,), attributes))

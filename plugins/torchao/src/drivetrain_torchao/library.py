"""The names that torchao provides, imported without its noise.

It tries every compiled kernel that it brings and warns of each that does not fit this machine or this
PyTorch. Its optimizers use none of them.
"""

from __future__ import annotations

from drivetrain.plugin import quietly

with quietly("torchao", "torch.utils._pytree"):
    from torchao.optim import AdamW4bit as LibraryAdamW4bit
    from torchao.optim import AdamW8bit as LibraryAdamW8bit
    from torchao.optim import AdamWFp8 as LibraryAdamWFp8
    from torchao.optim.subclass_4bit import OptimState4bit as OptimState4bit
    from torchao.optim.subclass_8bit import OptimState8bit as OptimState8bit
    from torchao.optim.subclass_fp8 import OptimStateFp8 as OptimStateFp8

__all__ = [
    "LibraryAdamW4bit",
    "LibraryAdamW8bit",
    "LibraryAdamWFp8",
    "OptimState4bit",
    "OptimState8bit",
    "OptimStateFp8",
]

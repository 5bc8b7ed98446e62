"""Rows of the arguments of number formats."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from small import make_args

from drivetrain import Trainer, UsageError
from honesty.observations import Formats
from honesty.table import Case, row, seen, warned


def formats_computed(trainer: Trainer) -> set[torch.dtype]:
    """The number formats of what the model computes in a training."""
    model = trainer.model
    assert isinstance(model, Formats)
    trainer.train()
    assert set(model.weights) == {torch.float32}
    return set(model.computed)


BF16: dict[str, Any] = {"bf16": True}


@row("half_precision_backend", "apex")
def half_precision_backend(case: Case) -> None:
    assert case.warnings(**BF16, half_precision_backend="cpu_amp") == []
    with pytest.raises(UsageError, match=r"^`half_precision_backend`: 'apex' is for NVIDIA GPUs"):
        make_args(fp16=True, **case.setting)
    (said,) = case.warnings(**BF16, half_precision_backend="cuda_amp")
    assert said.startswith(
        "`half_precision_backend`: 'cuda_amp' is for NVIDIA and AMD GPUs, and this run computes on cpu"
    )
    (said,) = case.warnings(half_precision_backend="cpu_amp")
    assert said.startswith("`half_precision_backend`: 'cpu_amp' has no effect without `bf16` or `fp16`")


@row("tf32", False)
def tf32(case: Case) -> None:
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    case.plain()
    assert torch.backends.cuda.matmul.allow_tf32
    case.changed()
    assert not torch.backends.cuda.matmul.allow_tf32
    assert not torch.backends.cudnn.allow_tf32
    with pytest.raises(UsageError, match=r"^`tf32`: True is for NVIDIA GPUs from Ampere on"):
        make_args(tf32=True)


FULL, BFLOAT, HALF = {torch.float32}, {torch.bfloat16}, {torch.float16}

ROWS = [
    seen("bf16", True, formats_computed, FULL, BFLOAT, model=Formats),
    seen("fp16", True, formats_computed, FULL, HALF, model=Formats),
    seen("precision", "bf16", formats_computed, FULL, BFLOAT, model=Formats),
    half_precision_backend,
    warned("fp16_opt_level", "O2", "is a level of NVIDIA Apex, which is not used"),
    tf32,
]

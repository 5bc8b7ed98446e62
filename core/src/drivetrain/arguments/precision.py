"""Arguments of number formats."""

from __future__ import annotations

from dataclasses import dataclass

from drivetrain.arguments.fields import argument

HALF_PRECISION_BACKENDS = ("auto", "apex", "cpu_amp", "cuda_amp")


@dataclass(init=False, repr=False, eq=False)
class PrecisionArguments:
    """In which number format a run computes."""

    bf16: bool = argument(False, "Compute in bfloat16 where that is safe (mixed precision).")
    fp16: bool = argument(False, "Compute in float16 where that is safe, with loss scaling.")
    precision: str = argument(
        "auto", "The precision by name. 'auto': 'bf16' or 'fp16' if that argument is set, else 'no'."
    )
    half_precision_backend: str = argument(
        "auto",
        "What computes in 16 bits: 'auto' (torch), 'apex' (the precision of that name), 'cpu_amp' or "
        "'cuda_amp' (torch, and only on such a device).",
        choices=HALF_PRECISION_BACKENDS,
    )
    fp16_opt_level: str = argument(
        "O1", "Optimization level of NVIDIA Apex.", choices=("O0", "O1", "O2", "O3")
    )
    tf32: bool | None = argument(
        None, "Let GPUs multiply in TensorFloat-32. By default: as torch is set."
    )

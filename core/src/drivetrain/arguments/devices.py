"""Arguments of number formats, devices and processes."""

from __future__ import annotations

from dataclasses import dataclass

from drivetrain.arguments.fields import argument


@dataclass
class DeviceArguments:
    """Where a run computes, and in which format."""

    use_cpu: bool = argument(False, "Train on the CPU even if there is an accelerator.")
    bf16: bool = argument(False, "Compute in bfloat16 where that is safe (mixed precision).")
    fp16: bool = argument(False, "Compute in float16 where that is safe, with loss scaling.")
    precision: str = argument(
        "auto", "The precision by name. 'auto': 'bf16' or 'fp16' if that argument is set, else 'no'."
    )
    strategy: str = argument(
        "auto",
        "The strategy by name. 'auto': 'ddp' if a launcher started several processes, else 'single'.",
    )

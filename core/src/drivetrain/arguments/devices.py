"""Arguments of devices."""

from __future__ import annotations

from dataclasses import dataclass

from drivetrain.arguments.fields import argument


@dataclass(init=False, repr=False, eq=False)
class DeviceArguments:
    """Where a run computes."""

    use_cpu: bool = argument(False, "Train on the CPU even if there is an accelerator.")
    tpu_num_cores: int | None = argument(None, "Cores of a TPU, as its launcher says.")
    use_ipex: bool = argument(
        False, "Use Intel's extension for PyTorch, whose work is in PyTorch today."
    )
    torch_empty_cache_steps: int | None = argument(
        None, "Updates after which an accelerator's unused memory is given back. By default: never."
    )

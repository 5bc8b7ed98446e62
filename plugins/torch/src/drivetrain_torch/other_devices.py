"""`adamw_torch_xla` and `adamw_torch_npu_fused`: AdamW of the libraries that bring torch to other devices."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import Any, ClassVar

from torch.optim import Optimizer

from drivetrain.plugin import AdamPlugin


class DeviceAdamW(AdamPlugin):
    """AdamW of a library for one sort of device.

    Attributes:
        library: What to install.
        module: Where in it the optimizer is.
        class_name: The optimizer.
        device_type: What torch calls the device.
        hardware: What people call it.
    """

    library: ClassVar[str]
    module: ClassVar[str]
    class_name: ClassVar[str]
    device_type: ClassVar[str]
    hardware: ClassVar[str]
    paper = "Decoupled Weight Decay Regularization, arXiv:1711.05101"
    state_bytes = 8.0
    suits = ("other devices",)

    def build(self) -> tuple[type[Optimizer], dict[str, Any]]:
        """The library's optimizer and its keyword arguments."""
        return getattr(importlib.import_module(self.module), self.class_name), self.adam_arguments()

    def problems(self) -> Iterable[str]:
        """Refuse a machine without the library, and a run on another device."""
        yield from super().problems()
        lacks = self._find_lack()
        if lacks:
            yield (
                f"`optim`: {self.name!r} is the AdamW of {self.library} for {self.hardware}, and {lacks}. "
                f"Type optim='adamw_torch', which runs on every device, or run it on one of those, with: "
                f"pip install {self.library}."
            )

    def _find_lack(self) -> str:
        """What stands against it here, or nothing."""
        try:
            getattr(importlib.import_module(self.module), self.class_name)
        except ModuleNotFoundError as error:
            if error.name == self.library:
                return f"{self.library} is not installed"
            return f"the installed {self.library} cannot be imported: {error}"
        except (ImportError, AttributeError, OSError, RuntimeError) as error:
            return f"the installed {self.library} cannot be imported: {error}"
        if self.args.device.type != self.device_type:
            return f"this run is on {str(self.args.device)!r}"
        return ""


class XLAAdamW(DeviceAdamW):
    """AdamW that never waits for the device, on TPUs: `torch_xla.amp.syncfree.AdamW`."""

    library = "torch_xla"
    needs_libraries = {"torch_xla": "pip install torch_xla"}
    module = "torch_xla.amp.syncfree"
    class_name = "AdamW"
    device_type = "xla"
    hardware = "TPUs and other XLA devices"


class NPUFusedAdamW(DeviceAdamW):
    """AdamW whose whole update is one kernel, on Ascend NPUs: `torch_npu.optim.NpuFusedAdamW`."""

    library = "torch_npu"
    needs_libraries = {"torch_npu": "pip install torch_npu"}
    module = "torch_npu.optim"
    class_name = "NpuFusedAdamW"
    device_type = "npu"
    hardware = "Ascend NPUs"

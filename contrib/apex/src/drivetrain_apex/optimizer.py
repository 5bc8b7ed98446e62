"""The plugin `adamw_apex_fused`."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import Any

from torch.optim import Optimizer

from drivetrain.plugin import AdamPlugin
from drivetrain_apex.library import COMMANDS, explain_lack


class ApexFusedAdamW(AdamPlugin):
    """AdamW whose whole update is one kernel of NVIDIA Apex: `apex.optimizers.FusedAdam`.

    torch has such a kernel of its own today, `adamw_torch_fused`.
    """

    needs_libraries = {"apex": COMMANDS}
    can_leave_out_bias_correction = True
    paper = "Decoupled Weight Decay Regularization, arXiv:1711.05101"
    state_bytes = 8.0
    suits = ("earlier results",)

    def build(self) -> tuple[type[Optimizer], dict[str, Any]]:
        """Apex's optimizer and its keyword arguments."""
        return importlib.import_module("apex.optimizers").FusedAdam, {
            **self.adam_arguments(),
            "bias_correction": self.args.adam_bias_correction,
            "adam_w_mode": True,
        }

    def problems(self) -> Iterable[str]:
        """Refuse a machine without NVIDIA Apex and a GPU for it, too."""
        yield from super().problems()
        instead = "optim='adamw_torch_fused', which is torch's own"
        if self.args.device.type != "cuda":
            yield (
                f"`optim`: {self.name!r} is a kernel for NVIDIA and AMD GPUs, and this run is on "
                f"{str(self.args.device)!r}. Type {instead} and runs here."
            )
        elif lack := explain_lack("optimizers", instead):
            yield f"`optim`: {self.name!r} {lack}"

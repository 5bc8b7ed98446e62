"""`galore_adamw_layerwise`, `galore_adamw_8bit_layerwise` and `galore_adafactor_layerwise`."""

from __future__ import annotations

import weakref
from typing import Any

from torch import nn
from torch.optim import Optimizer

from drivetrain.plugin import OptimizerPlugin, hookimpl
from drivetrain_galore import backward
from drivetrain_galore.optimizer import GaLoreAdafactor, GaLoreAdamW, GaLoreAdamW8bit


class Layerwise(OptimizerPlugin):
    """Mixed in before an optimizer plugin: what stepping inside backward rules out, and its hooks."""

    cannot = {
        "gradient_accumulation": "it updates each parameter inside backward, after every micro-batch",
        "gradient_clipping": (
            "it updates each parameter before the gradients of all others are there, without which "
            "there is no total norm"
        ),
        "fp16": "it updates each parameter inside backward, before gradients could be unscaled",
        "several_processes": (
            "it updates each parameter inside backward, before gradients are averaged over processes"
        ),
    }
    _made: weakref.ref[backward.StepsInBackward] | None = None

    def create(self, model: nn.Module, groups: list[dict[str, Any]]) -> Optimizer:
        """Make the optimizer; its hooks are on the parameters already."""
        made = super().create(model, groups)
        assert isinstance(made, backward.StepsInBackward)
        self._made = weakref.ref(made)
        return made

    @hookimpl
    def on_train_begin(self) -> None:
        """Take up the work again if the same optimizer is used for a second run."""
        made = self._made() if self._made else None
        if made is not None:
            made.open()

    @hookimpl
    def on_run_end(self) -> None:
        """Leave the model's backward to whoever trains it next."""
        made = self._made() if self._made else None
        if made is not None:
            made.close()


class LayerwiseGaLoreAdamW(Layerwise, GaLoreAdamW):
    """`galore_adamw` without a gradient of the whole model at any time."""

    optimizer = backward.AdamW


class LayerwiseGaLoreAdamW8bit(Layerwise, GaLoreAdamW8bit):
    """`galore_adamw_8bit` without a gradient of the whole model at any time. Needs a CUDA GPU."""

    optimizer = backward.AdamW8bit


class LayerwiseGaLoreAdafactor(Layerwise, GaLoreAdafactor):
    """`galore_adafactor` without a gradient of the whole model at any time."""

    optimizer = backward.Adafactor

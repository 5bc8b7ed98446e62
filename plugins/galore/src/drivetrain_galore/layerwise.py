"""`galore_adamw_layerwise`, `galore_adamw_8bit_layerwise` and `galore_adafactor_layerwise`."""

from __future__ import annotations

from drivetrain.plugin import LayerwisePlugin
from drivetrain_galore import backward
from drivetrain_galore.optimizer import GaLoreAdafactor, GaLoreAdamW, GaLoreAdamW8bit


class LayerwiseGaLoreAdamW(LayerwisePlugin, GaLoreAdamW):
    """`galore_adamw` without a gradient of the whole model at any time."""

    optimizer = backward.AdamW


class LayerwiseGaLoreAdamW8bit(LayerwisePlugin, GaLoreAdamW8bit):
    """`galore_adamw_8bit` without a gradient of the whole model at any time."""

    optimizer = backward.AdamW8bit


class LayerwiseGaLoreAdafactor(LayerwisePlugin, GaLoreAdafactor):
    """`galore_adafactor` without a gradient of the whole model at any time."""

    optimizer = backward.Adafactor

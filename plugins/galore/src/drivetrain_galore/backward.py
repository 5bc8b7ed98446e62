"""GaLore's optimizers, stepping inside backward."""

from __future__ import annotations

from drivetrain.plugin import StepsInBackward
from drivetrain_galore import state


class AdamW(StepsInBackward, state.AdamW):
    """`state.AdamW`, stepping in backward."""


class AdamW8bit(StepsInBackward, state.AdamW8bit):
    """`state.AdamW8bit`, stepping in backward."""


class Adafactor(StepsInBackward, state.Adafactor):
    """`state.Adafactor`, stepping in backward."""

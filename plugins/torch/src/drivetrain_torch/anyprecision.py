"""The plugin `adamw_anyprecision`: AdamW whose moments have the number formats that one asks for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from torch.optim import Optimizer

from drivetrain.plugin import AdamOptions, AdamPlugin
from drivetrain_torch.anyprecision_adamw import AnyPrecisionAdamW

NumberFormat = Literal["float32", "bfloat16", "float16"]

_BITS = {"float32": 24, "bfloat16": 8, "float16": 11}
"""Bits of a number that are significant."""


@dataclass(frozen=True)
class AnyPrecisionOptions(AdamOptions):
    """Options of `adamw_anyprecision`; the defaults are those of the published trainer.

    Attributes:
        use_kahan_summation: Keep what rounding takes from each update of a weight, and add it to the next.
        momentum_dtype: Format of the mean of the gradients.
        variance_dtype: Format of the mean of their squares.
        compensation_buffer_dtype: Format of what Kahan summation keeps.
    """

    use_kahan_summation: bool = False
    momentum_dtype: NumberFormat = "float32"
    variance_dtype: NumberFormat = "float32"
    compensation_buffer_dtype: NumberFormat = "bfloat16"


class AnyPrecision(AdamPlugin):
    """AdamW with moments in chosen formats and, for weights in 16 bits, Kahan summation.

    Weights in bfloat16 have 8 significant bits, so that most updates of a low rate are rounded away.
    Kahan summation keeps what was rounded away, and follows training in 32 bits closely.
    """

    Options = AnyPrecisionOptions
    paper = "Revisiting BFloat16 Training, arXiv:2010.06192"
    state_bytes = 8.0
    suits = ("16-bit weights",)

    def build(self) -> tuple[type[Optimizer], dict[str, Any]]:
        """`AnyPrecisionAdamW` and its keyword arguments."""
        options = self.options
        return AnyPrecisionAdamW, {
            **self.adam_arguments(),
            "use_kahan_summation": options.use_kahan_summation,
            "momentum_dtype": options.momentum_dtype,
            "variance_dtype": options.variance_dtype,
            "compensation_buffer_dtype": options.compensation_buffer_dtype,
        }

    def warnings(self) -> Iterable[str]:
        """Say what a format does not hold, and that a buffer was described that is not there."""
        yield from super().warnings()
        options, beta2 = self.options, self.adam_arguments()["betas"][1]
        if 0.0 < 1.0 - beta2 < 2.0 ** -(_BITS[options.variance_dtype] + 1):
            yield (
                f"`optim_args`: variance_dtype={options.variance_dtype!r} keeps "
                f"{_BITS[options.variance_dtype]} significant bits, and with a second beta of {beta2} a "
                "variance in it rises but never falls: what an update takes from it is rounded away. "
                "Type adam_beta2=0.99, or variance_dtype=float32."
            )
        is_described = options.compensation_buffer_dtype != AnyPrecisionOptions.compensation_buffer_dtype
        if is_described and not options.use_kahan_summation:
            yield (
                f"`optim_args`: compensation_buffer_dtype={options.compensation_buffer_dtype!r} has no "
                "effect without Kahan summation. Type use_kahan_summation=True, or leave it out."
            )

"""The plugin `stable_adamw`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from torch.optim import Optimizer

from drivetrain.plugin import AdamOptions, AdamPlugin
from drivetrain_optimi.library import QuietStableAdamW

_HIGH_DECAY = 1e-3
"""From where on optimi holds weight decay that does not depend on the rate to be too much."""


@dataclass(frozen=True)
class StableOptions(AdamOptions):
    """Options of `stable_adamw`, beside those of Adam: see `optimi.StableAdamW`.

    Attributes:
        decouple_lr: Weight decay is not multiplied by the rate, but by its share of ``max_lr``: an update
            at that rate takes `weight_decay` of a weight.
        max_lr: The highest rate of the schedule. None: `learning_rate`.
        kahan_sum: Keep what rounding takes from each update. None: for weights in 16 bits.
        foreach: Update many weights together. None: where that is faster.
        triton: Update by a Triton kernel. None: on a GPU, if Triton is installed.
    """

    decouple_lr: bool = False
    max_lr: float | None = None
    kahan_sum: bool | None = None
    foreach: bool | None = None
    triton: bool | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.eps is not None and not self.eps > 0.0:
            raise ValueError(f"eps={self.eps} must be above 0: type eps=1e-6, say.")
        if self.max_lr is not None and not self.decouple_lr:
            raise ValueError(
                f"max_lr={self.max_lr} is what decouple_lr=True goes by, and that is not set: "
                "type decouple_lr=True, or leave max_lr out."
            )
        if self.foreach and self.triton:
            raise ValueError("foreach=True and triton=True exclude each other: leave one out.")


class Stable(AdamPlugin):
    """AdamW that clips the update of each parameter as Adafactor does: `optimi.StableAdamW`.

    It needs no clipping of gradients (`max_grad_norm=0`), keeps the losses of large models from jumping,
    and updates weights in 16 bits with Kahan summation.
    """

    Options = StableOptions
    paper = "Stable and low-precision training for large-scale vision-language models, arXiv:2304.13013"
    state_bytes = 8.0
    suits = ("16-bit weights",)

    def build(self) -> tuple[type[Optimizer], dict[str, Any]]:
        """The optimizer of optimi and its keyword arguments."""
        options = self.options
        return QuietStableAdamW, {
            **self.adam_arguments(),
            "weight_decay": self.args.weight_decay,
            "decouple_lr": options.decouple_lr,
            "max_lr": options.max_lr,
            "kahan_sum": options.kahan_sum,
            "foreach": options.foreach,
            "triton": options.triton,
        }

    def problems(self) -> Iterable[str]:
        """Refuse a kernel that cannot run, and values that cannot be, too."""
        yield from super().problems()
        if self.options.eps is None and self.args.adam_epsilon == 0.0:
            yield (
                f"`adam_epsilon`: 0.0 cannot be used with `optim`={self.name!r}, which divides by it. "
                "Type adam_epsilon=1e-8, say."
            )
        if self.options.max_lr is not None and self.options.max_lr < self.args.learning_rate:
            yield (
                f"`optim_args`: max_lr={self.options.max_lr} is to be the highest rate, and `learning_rate` "
                f"is {self.args.learning_rate}. Type max_lr={self.args.learning_rate}, or leave it out."
            )
        if self.options.triton and (reason := self._find_lack_for_triton()):
            yield f"`optim_args`: triton=True {reason}. Leave it out."

    def warnings(self) -> Iterable[str]:
        """Say that a weight decay is far too high if the rate does not reduce it."""
        yield from super().warnings()
        decay = self.args.weight_decay
        if self.options.decouple_lr and decay >= _HIGH_DECAY:
            yield (
                f"`weight_decay`: with decouple_lr=True each update at the highest rate takes {decay} of a "
                "weight, for the rate does not reduce it. Type weight_decay=1e-5, say."
            )

    def _find_lack_for_triton(self) -> str:
        device = self.args.device
        if device.type in ("cpu", "mps"):
            return f"needs a GPU that Triton compiles for, and this run is on {str(device)!r}"
        return "" if find_spec("triton") else "needs Triton, which is not installed"

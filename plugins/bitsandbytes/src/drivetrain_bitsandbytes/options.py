"""What `optim_args` may hold for each optimizer, and which values are refused."""

from __future__ import annotations

from dataclasses import dataclass

from drivetrain.plugin import AdamOptions


@dataclass(frozen=True)
class LionOptions:
    """Options of Lion with state in 32 bits.

    Attributes:
        betas: Overrides `adam_beta1` and `adam_beta2`.
    """

    betas: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        for beta in self.betas or ():
            if not 0.0 <= beta < 1.0:
                raise ValueError(
                    f"betas={self.betas} must both be in [0, 1): type betas=(0.9, 0.99), say."
                )


@dataclass(frozen=True)
class AdEMAMixOptions(AdamOptions):
    """Options of AdEMAMix with state in 32 bits, beside those of Adam.

    Attributes:
        beta3: Decay of the slow average of gradients.
        alpha: Weight of the slow average beside the fast one.
        t_alpha: Updates in which `alpha` rises from 0. None: it is there from the start.
        t_beta3: Updates in which the slow decay rises from that of the fast average to `beta3`. None:
            it is there from the start.
    """

    beta3: float = 0.9999
    alpha: float = 5.0
    t_alpha: int | None = None
    t_beta3: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.0 <= self.beta3 < 1.0:
            raise ValueError(f"beta3={self.beta3} must be in [0, 1): type beta3=0.9999, say.")
        _require_from("alpha", self.alpha, 0.0, "5.0")
        _require_from("t_alpha", self.t_alpha, 1, "1000")
        _require_from("t_beta3", self.t_beta3, 1, "1000")


@dataclass(frozen=True)
class RMSpropOptions:
    """Options of RMSprop with state in 32 bits.

    Attributes:
        alpha: Decay of the average of squared gradients.
        eps: Added to its root.
    """

    alpha: float = 0.99
    eps: float = 1e-8

    def __post_init__(self) -> None:
        if not 0.0 < self.alpha < 1.0:
            raise ValueError(f"alpha={self.alpha} must be above 0 and below 1: type alpha=0.99, say.")
        _require_from("eps", self.eps, 0.0, "1e-8")


@dataclass(frozen=True)
class _In8Bits:
    """Mixed in before the options of the same method with state in 32 bits.

    Attributes:
        min_8bit_size: Elements below which a parameter's state stays in 32 bits.
    """

    min_8bit_size: int = 4096

    def __post_init__(self) -> None:
        super().__post_init__()  # type: ignore[misc]  # of what this is mixed in before
        _require_from("min_8bit_size", self.min_8bit_size, 0, "4096")


@dataclass(frozen=True)
class Lion8bitOptions(_In8Bits, LionOptions):
    """Options of Lion with state in 8 bits."""


@dataclass(frozen=True)
class AdamW8bitOptions(_In8Bits, AdamOptions):
    """Options of AdamW with state in 8 bits."""


@dataclass(frozen=True)
class AdEMAMix8bitOptions(_In8Bits, AdEMAMixOptions):
    """Options of AdEMAMix with state in 8 bits."""


@dataclass(frozen=True)
class RMSprop8bitOptions(_In8Bits, RMSpropOptions):
    """Options of RMSprop with state in 8 bits."""


def _require_from(name: str, value: float | None, minimum: float, example: str) -> None:
    if value is not None and not value >= minimum:
        raise ValueError(f"{name}={value} must be {minimum} or more: type {name}={example}, say.")

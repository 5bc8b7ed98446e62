"""The options of the schedules, with the published names and defaults."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from drivetrain_torch.curves import Shape


@dataclass(frozen=True)
class CosineOptions:
    """Options of `cosine`.

    Attributes:
        num_cycles: Waves of the cosine; half a wave falls to 0 once.
    """

    num_cycles: float = 0.5


@dataclass(frozen=True)
class RestartsOptions:
    """Options of `cosine_with_restarts`.

    Attributes:
        num_cycles: How often the rate falls to 0.
    """

    num_cycles: int = 1


@dataclass(frozen=True)
class PolynomialOptions:
    """Options of `polynomial`.

    Attributes:
        lr_end: The rate at the end.
        power: 1: a straight line; above 1, the rate falls faster at first.
    """

    lr_end: float = 1e-7
    power: float = 1.0


@dataclass(frozen=True)
class InverseSqrtOptions:
    """Options of `inverse_sqrt`.

    Attributes:
        timescale: Updates after which the rate is divided by the square root of 2. None: the length of
            the warm-up, or 10000 without one.
    """

    timescale: int | None = None

    def __post_init__(self) -> None:
        if self.timescale is not None and self.timescale < 1:
            raise ValueError(f"timescale={self.timescale} must be 1 or more: type 10000, say.")


@dataclass(frozen=True)
class MinLROptions:
    """Options of `cosine_with_min_lr`: ``min_lr`` or ``min_lr_rate`` must be given.

    Attributes:
        num_cycles: Waves of the cosine; half a wave falls to the lowest rate once.
        min_lr: The lowest rate.
        min_lr_rate: The lowest rate as a share of the highest.
    """

    num_cycles: float = 0.5
    min_lr: float | None = None
    min_lr_rate: float | None = None

    def __post_init__(self) -> None:
        if self.min_lr is None and self.min_lr_rate is None:
            raise ValueError("the lowest rate is missing: type min_lr_rate=0.1, or min_lr=5e-6, say.")
        if self.min_lr is not None and self.min_lr_rate is not None:
            raise ValueError(
                f"min_lr={self.min_lr} and min_lr_rate={self.min_lr_rate} both give the lowest rate: "
                "leave out one of them."
            )

    def find_rate(self, lr: float) -> float:
        """The lowest rate as a share of ``lr``."""
        if self.min_lr_rate is not None:
            return self.min_lr_rate
        assert self.min_lr is not None
        return self.min_lr / lr if lr else 0.0


@dataclass(frozen=True)
class WarmupMinLROptions(MinLROptions):
    """Options of `cosine_warmup_with_min_lr`: ``min_lr`` or ``min_lr_rate`` must be given.

    Attributes:
        warmup_lr_rate: Where the warm-up begins, as a share of the highest rate. None: at 1 / its length.
    """

    warmup_lr_rate: float | None = None


@dataclass(frozen=True)
class WarmupStableDecayOptions:
    """Options of `warmup_stable_decay`.

    Attributes:
        num_decay_steps: Updates at the end during which the rate falls.
        num_stable_steps: Updates at the highest rate. None: all that warm-up and decay leave.
        warmup_type: How the rate rises.
        decay_type: How it falls.
        min_lr_ratio: Where it begins and ends, as a share of the highest rate.
        num_cycles: Waves of the cosine of the decay; half a wave falls once.
    """

    num_decay_steps: int
    num_stable_steps: int | None = None
    warmup_type: Shape = "linear"
    decay_type: Shape = "cosine"
    min_lr_ratio: float = 0.0
    num_cycles: float = 0.5

    def __post_init__(self) -> None:
        for name in ("num_decay_steps", "num_stable_steps"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise ValueError(f"{name}={value} must be 0 or more.")


@dataclass(frozen=True)
class PlateauOptions:
    """Options of `reduce_lr_on_plateau`: see `torch.optim.lr_scheduler.ReduceLROnPlateau`.

    Attributes:
        mode: Whether less ('min') or more ('max') of the metric is better.
        factor: What the rate is multiplied by.
        patience: Evaluations without a better metric that are let pass.
        min_lr: The lowest rate, for all parameter groups or for each.
    """

    mode: Literal["min", "max"] = "min"
    factor: float = 0.1
    patience: int = 10
    threshold: float = 1e-4
    threshold_mode: Literal["rel", "abs"] = "rel"
    cooldown: int = 0
    min_lr: float | tuple[float, ...] = 0.0
    eps: float = 1e-8

    def __post_init__(self) -> None:
        if not 0.0 < self.factor < 1.0:
            raise ValueError(f"factor={self.factor} must be between 0 and 1: type factor=0.1, say.")

    def keywords(self) -> dict[str, Any]:
        """The keyword arguments of `ReduceLROnPlateau`."""
        return asdict(self)

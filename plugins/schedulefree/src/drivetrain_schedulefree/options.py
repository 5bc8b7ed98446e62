"""What `optim_args` may hold for each optimizer, and which values are refused."""

from __future__ import annotations

from dataclasses import dataclass

from drivetrain.plugin import AdamOptions


@dataclass(frozen=True)
class ScheduleFreeOptions:
    """Options that all have.

    Attributes:
        r: The weights to use are a mean in which update k counts k to this power.
        weight_lr_power: In that mean, an update counts the highest rate so far to this power. 0: all alike.
        foreach: Update all parameters together, which is faster and takes more memory meanwhile.
    """

    r: float = 0.0
    weight_lr_power: float = 2.0
    foreach: bool = True

    def __post_init__(self) -> None:
        if not self.weight_lr_power >= 0.0:
            raise ValueError(
                f"weight_lr_power={self.weight_lr_power} must be 0 or more, for a rate may be 0: "
                "type weight_lr_power=2.0, say."
            )


@dataclass(frozen=True)
class _AdamOptions(AdamOptions, ScheduleFreeOptions):
    """Both sorts of options."""

    def __post_init__(self) -> None:
        ScheduleFreeOptions.__post_init__(self)
        AdamOptions.__post_init__(self)
        if self.betas is not None and not self.betas[0] > 0.0:
            raise ValueError(
                f"betas={self.betas} must be between 0 and 1, the first above 0: "
                "type betas=(0.9, 0.999), say."
            )


@dataclass(frozen=True)
class RAdamOptions(_AdamOptions):
    """Options of `schedule_free_radam`, beside those of Adam.

    Attributes:
        silent_sgd_phase: In the first updates, until the second moment can be relied on, gather moments
            and leave the weights as they are. False: update them by SGD.
    """

    silent_sgd_phase: bool = True


@dataclass(frozen=True)
class AdamWOptions(_AdamOptions):
    """Options of `schedule_free_adamw`, beside those of Adam.

    Attributes:
        warmup_steps: Updates during which the optimizer itself raises the rate. None: as many as
            `warmup_steps` or `warmup_ratio` give.
    """

    warmup_steps: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_warmup(self.warmup_steps)


@dataclass(frozen=True)
class SGDOptions(ScheduleFreeOptions):
    """Options of `schedule_free_sgd`.

    Attributes:
        momentum: How far the weights to train lie towards the mean: beta in the paper.
        warmup_steps: Updates during which the optimizer itself raises the rate. None: as many as
            `warmup_steps` or `warmup_ratio` give.
    """

    momentum: float = 0.9
    warmup_steps: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.0 < self.momentum < 1.0:
            raise ValueError(
                f"momentum={self.momentum} must be between 0 and 1, neither of them: type momentum=0.9, say."
            )
        check_warmup(self.warmup_steps)


def check_warmup(warmup_steps: int | None) -> None:
    """Raise ValueError for a number of updates below 0."""
    if warmup_steps is not None and warmup_steps < 0:
        raise ValueError(f"warmup_steps={warmup_steps} must be 0 or more: type warmup_steps=0 for none.")

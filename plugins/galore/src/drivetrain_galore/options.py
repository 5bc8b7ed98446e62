"""What `optim_args` may hold for each optimizer, and which values are refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

ProjectionType = Literal["std", "reverse_std", "right", "left", "full"]
"""Which side of a gradient is projected.

``"std"``: the shorter one, as in the paper; ``"reverse_std"``: the longer one; ``"right"`` and
``"left"``: always input or always output features; ``"full"``: both.
"""


@dataclass(frozen=True)
class GaLoreOptions:
    """Options of the projection, which all have.

    Attributes:
        rank: Singular vectors that a gradient is projected onto.
        update_proj_gap: Updates between two computations of those vectors.
        scale: What the projected update is multiplied by: alpha in the paper.
        proj_type: Which side of a gradient is projected.
    """

    rank: int = 128
    update_proj_gap: int = 200
    scale: float = 0.25
    proj_type: ProjectionType = "std"


@dataclass(frozen=True)
class AdamWOptions(GaLoreOptions):
    """Options of `galore_adamw`.

    Attributes:
        betas: Overrides `adam_beta1` and `adam_beta2`.
        eps: Overrides `adam_epsilon`.
        correct_bias: Make up for the moments' start at zero.
    """

    betas: tuple[float, float] | None = None
    eps: float | None = None
    correct_bias: bool = True


@dataclass(frozen=True)
class AdamW8bitOptions(GaLoreOptions):
    """Options of `galore_adamw_8bit`.

    Attributes:
        betas: Overrides `adam_beta1` and `adam_beta2`.
        eps: Overrides `adam_epsilon`.
        min_8bit_size: Elements below which a weight's state stays in 32 bits.
    """

    betas: tuple[float, float] | None = None
    eps: float | None = None
    min_8bit_size: int = 4096


@dataclass(frozen=True)
class AdafactorOptions(GaLoreOptions):
    """Options of `galore_adafactor` (arXiv:1804.04235).

    The rate comes from `learning_rate` and the schedule, as in the published trainer: the library's
    ``relative_step`` and ``warmup_init``, which would replace it, are off.

    Attributes:
        eps: Added to squared gradients; the least root mean square that `scale_parameter` uses.
        clip_threshold: Root mean square that an update is scaled down to.
        decay_rate: Exponent with which the memory for squared gradients grows.
        beta1: Decay of the first moment; None: there is none, and no state for it.
        scale_parameter: Multiply the rate by the root mean square of the weight.
    """

    eps: tuple[float, float] = (1e-30, 1e-3)
    clip_threshold: float = 1.0
    decay_rate: float = -0.8
    beta1: float | None = None
    scale_parameter: bool = False


def find_problems(options: GaLoreOptions) -> Iterator[str]:
    """One whole message for each value that cannot be used."""
    for name, (minimum, is_included, example) in _MINIMA.items():
        value = getattr(options, name, None)
        for number in value if isinstance(value, tuple) else [value]:
            if number is not None and (number < minimum or (number == minimum and not is_included)):
                allowed = f"{'from' if is_included else 'above'} {minimum}{' up' if is_included else ''}"
                yield _refuse(name, value, allowed, example)
                break
    for name, example in _DECAYS.items():
        value = getattr(options, name, None)
        numbers = value if isinstance(value, tuple) else [value]
        if any(number is not None and not 0 <= number < 1 for number in numbers):
            yield _refuse(name, value, "in [0, 1)", example)
    decay_rate = getattr(options, "decay_rate", -1.0)
    if decay_rate >= 0:
        yield _refuse("decay_rate", decay_rate, "below 0", "-0.8")


def _refuse(name: str, value: Any, allowed: str, example: str) -> str:
    return f"`optim_args`: {name}={value!r} is not {allowed}. Type {name}={example}, say."


_MINIMA: dict[str, tuple[float, bool, str]] = {
    "rank": (1, True, "128"),
    "update_proj_gap": (1, True, "200"),
    "scale": (0, False, "0.25"),
    "eps": (0, True, "1e-8"),
    "clip_threshold": (0, False, "1.0"),
    "min_8bit_size": (0, True, "4096"),
}
"""The least value of an option, whether it is allowed itself, and what to type."""

_DECAYS = {"betas": "(0.9, 0.999)", "beta1": "0.9"}

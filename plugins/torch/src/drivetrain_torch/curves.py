"""The curves of the schedules: from a step to what the rate is multiplied by.

Each function makes a curve. The operations and their order are those of the published schedules, so
that values are equal to the last bit. A curve is a plain function, because `LambdaLR` keeps the
attributes of other callables in its state.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

Curve = Callable[[int], float]
Shape = Literal["linear", "cosine", "1-sqrt"]


def constant() -> Curve:
    """1 at every step."""
    return lambda step: 1.0


def after_warmup(num_warmup_steps: int, curve: Curve) -> Curve:
    """Rise linearly from 0 to 1 over the warm-up, then follow ``curve``."""

    def multiplier(step: int) -> float:
        if step < num_warmup_steps:
            return step / max(1, num_warmup_steps)
        return curve(step)

    return multiplier


def linear(num_warmup_steps: int, num_training_steps: int) -> Curve:
    """Fall linearly to 0 at the end of training."""
    num_steps = max(1, num_training_steps - num_warmup_steps)
    return lambda step: max(0.0, (num_training_steps - step) / num_steps)


def cosine(
    num_warmup_steps: int, num_training_steps: int, num_cycles: float, min_lr_rate: float = 0.0
) -> Curve:
    """Follow ``num_cycles`` waves of a cosine between 1 and ``min_lr_rate``: half a wave falls once."""
    num_steps = max(1, num_training_steps - num_warmup_steps)

    def multiplier(step: int) -> float:
        progress = (step - num_warmup_steps) / num_steps
        return max(0.0, _raise_floor(_wave(num_cycles, progress), min_lr_rate))

    return multiplier


def cosine_with_restarts(num_warmup_steps: int, num_training_steps: int, num_cycles: int) -> Curve:
    """Fall from 1 to 0 along half a cosine, ``num_cycles`` times."""
    num_steps = max(1, num_training_steps - num_warmup_steps)

    def multiplier(step: int) -> float:
        progress = (step - num_warmup_steps) / num_steps
        if progress >= 1.0:
            return 0.0
        return max(0.0, 0.5 * (1.0 + math.cos(math.pi * ((num_cycles * progress) % 1.0))))

    return multiplier


def polynomial(
    num_warmup_steps: int, num_training_steps: int, lr: float, lr_end: float, power: float
) -> Curve:
    """Fall from ``lr`` to ``lr_end`` along a power of the share of steps that remain."""
    num_steps = max(1, num_training_steps - num_warmup_steps)

    def multiplier(step: int) -> float:
        if step > num_training_steps:
            return lr_end / lr
        remaining = 1 - (step - num_warmup_steps) / num_steps
        return float(((lr - lr_end) * remaining**power + lr_end) / lr)

    return multiplier


def inverse_sqrt(num_warmup_steps: int, timescale: int) -> Curve:
    """Fall with the square root of the steps since the warm-up, in units of ``timescale``."""
    shift = timescale - num_warmup_steps
    return lambda step: 1.0 / math.sqrt((step + shift) / timescale)


def early_cosine(
    num_warmup_steps: int,
    num_training_steps: int,
    num_cycles: float,
    min_lr_rate: float,
    warmup_lr_rate: float | None,
) -> Curve:
    """A warm-up that begins above 0, and a cosine that is one step ahead of `cosine`.

    The warm-up begins at ``warmup_lr_rate`` and reaches 1 at its last step; without that rate it
    begins at 1 / ``num_warmup_steps``.
    """
    num_steps = max(1.0, num_training_steps - num_warmup_steps)

    def multiplier(step: int) -> float:
        if step < num_warmup_steps:
            if warmup_lr_rate is None:
                return (step + 1.0) / max(1.0, num_warmup_steps)
            return warmup_lr_rate + (1.0 - warmup_lr_rate) * step / max(1, num_warmup_steps - 1)
        progress = (step - num_warmup_steps + 1.0) / num_steps
        return max(0.0, _raise_floor(_wave(num_cycles, progress), min_lr_rate))

    return multiplier


def warmup_stable_decay(
    num_warmup_steps: int,
    num_stable_steps: int,
    num_decay_steps: int,
    warmup_type: Shape,
    decay_type: Shape,
    min_lr_ratio: float,
    num_cycles: float,
) -> Curve:
    """Rise from ``min_lr_ratio`` to 1, stay there, fall back to ``min_lr_ratio`` and stay there."""
    decay_start = num_warmup_steps + num_stable_steps

    def multiplier(step: int) -> float:
        if step < num_warmup_steps:
            height = _rise(warmup_type, step / max(1, num_warmup_steps))
        elif step < decay_start:
            return 1.0
        elif step < decay_start + num_decay_steps:
            height = _fall(decay_type, (step - decay_start) / max(1, num_decay_steps), num_cycles)
        else:
            return min_lr_ratio
        return max(0.0, _raise_floor(height, min_lr_ratio))

    return multiplier


def _wave(num_cycles: float, progress: float) -> float:
    return 0.5 * (1.0 + math.cos(math.pi * num_cycles * 2.0 * progress))


def _raise_floor(height: float, floor: float) -> float:
    """Map a height in [0, 1] to [floor, 1]."""
    return height * (1.0 - floor) + floor


def _rise(shape: Shape, progress: float) -> float:
    if shape == "linear":
        return progress
    if shape == "cosine":
        return 0.5 * (1.0 - math.cos(math.pi * progress))
    return 1.0 - math.sqrt(1.0 - progress)


def _fall(shape: Shape, progress: float, num_cycles: float) -> float:
    if shape == "linear":
        return 1.0 - progress
    if shape == "cosine":
        return _wave(num_cycles, progress)
    return 1.0 - math.sqrt(progress)

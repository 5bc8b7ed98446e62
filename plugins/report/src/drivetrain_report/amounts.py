"""Numbers as people read them."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

from drivetrain.plugin import as_float

_NUM_STEPS = 6


def show_count(number: int, noun: str, plural: str = "") -> str:
    """``1 step``, ``2 steps``."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def show_number(value: float | None) -> str:
    """Four digits, or all of a whole number."""
    number = as_float(value)
    if number is None:
        return ""
    value = number
    if math.isfinite(value) and value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.1f}" if 1000 <= abs(value) < 1e15 else f"{value:.4g}"


def show_size(num_bytes: float) -> str:
    """In the unit that fits: ``1.5 MB``, a thousand of a unit being the next."""
    for unit in ("B", "kB", "MB", "GB"):
        if num_bytes < 1000:
            return f"{num_bytes:.3g} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:,.3g} TB"


def show_duration(seconds: float) -> str:
    """``45 s``, ``12 min 5 s``, ``3 h 20 min``, ``2 d 4 h``."""
    if seconds < 60 or not math.isfinite(seconds):
        return f"{seconds:.3g} s"
    units = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
    left = round(seconds)
    parts: list[str] = []
    for name, size in units:
        number, left = divmod(left, size)
        if number or parts:
            parts.append(f"{number} {name}" if number else "")
    return " ".join(filter(None, parts[:2]))


def show_time(moment: float) -> str:
    """Date and time of day, here; seconds where that is not within what a calendar has."""
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment))
    except (OverflowError, OSError, ValueError):
        return f"{moment:.4g} s"


def show_steps(steps: Sequence[int]) -> str:
    """``step 4``, ``steps 4, 7 and 9``, ``steps 1, 2, 3, 4, 5, 6 and 94 more``."""
    if len(steps) == 1:
        return f"step {steps[0]}"
    if len(steps) > _NUM_STEPS:
        return f"steps {', '.join(map(str, steps[:_NUM_STEPS]))} and {len(steps) - _NUM_STEPS} more"
    return f"steps {', '.join(map(str, steps[:-1]))} and {steps[-1]}"

"""What reporters are given, as what backends take."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any


def as_number(value: Any) -> float | int | None:
    """A value as a number of Python; None if it is none.

    Numbers of any library are, also if they are not finite, and so are tensors and arrays without
    dimensions; a bool is 0 or 1.
    """
    if getattr(value, "ndim", None) == 0 and callable(getattr(value, "item", None)):
        value = value.item()  # of torch, NumPy, or what follows their manners
    if isinstance(value, Integral):
        return int(value)
    return float(value) if isinstance(value, Real) else None


def as_float(value: Any) -> float | None:
    """`as_number` as a float; an int that is too large for one is infinite."""
    number = as_number(value)
    if number is None:
        return None
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf

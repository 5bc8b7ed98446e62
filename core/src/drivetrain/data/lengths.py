"""Lengths of data sets and loaders, some of which have none."""

from __future__ import annotations

from typing import Any


def length_of(thing: Any) -> int | None:
    """``len(thing)``, or None where there is no such thing (iterable data sets and their loaders)."""
    try:
        return len(thing)
    except (TypeError, AttributeError, NotImplementedError):
        return None


def batch_size_of(batch: Any) -> int | None:
    """The first dimension of the first tensor in a batch, however nested; None if there is none."""
    shape = getattr(batch, "shape", None)
    if shape is not None:
        return int(shape[0]) if len(shape) > 0 else None
    members = (
        batch.values() if hasattr(batch, "values") else batch if isinstance(batch, (list, tuple)) else ()
    )
    for member in members:
        size = batch_size_of(member)
        if size is not None:
            return size
    return None

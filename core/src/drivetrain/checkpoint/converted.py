"""Weights of models that save them under other names than they have them, or several as one."""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn


def can_convert(model: Any) -> bool:
    """Whether the model's class can make another one of a configuration and weights as it saves them."""
    return (
        hasattr(model, "config")
        and callable(getattr(type(model), "from_pretrained", None))
        and _widest_dtype(model) is not None
    )


def load_converted(model: Any, weights: dict[str, torch.Tensor]) -> str | None:
    """Let the model's class make another one of the weights, and copy that one's into the model.

    It is given the tensors and no folder: nothing is read, unpickled or downloaded.

    Args:
        model: A model that `can_convert`.
        weights: The weights by the names that they were saved under.

    Returns:
        What does not fit, if anything.
    """
    try:
        converted, info = type(model).from_pretrained(
            None,
            config=copy.deepcopy(model.config),
            state_dict=weights,
            torch_dtype=_widest_dtype(model),
            ignore_mismatched_sizes=True,  # they are told
            output_loading_info=True,
        )
    except (AttributeError, KeyError, OSError, RuntimeError, TypeError, ValueError) as error:
        return f"{type(error).__name__}: {error}".rstrip(". ")
    missing, unexpected = sorted(info["missing_keys"]), sorted(info["unexpected_keys"])
    mismatched = sorted(name for name, *_ in info["mismatched_keys"])
    if missing or unexpected or mismatched:
        return describe_misfit(missing, unexpected, mismatched)
    model.load_state_dict(converted.state_dict())
    return None


def describe_misfit(
    missing: Iterable[str], unexpected: Iterable[str], mismatched: Iterable[str] = ()
) -> str:
    """Say which weights have no tensor, which tensors no weight, and which have another shape."""
    parts = [f"missing {_shorten([*missing])}", f"not in the model {_shorten([*unexpected])}"]
    if mismatched:
        parts.append(f"of another shape {_shorten([*mismatched])}")
    return "; ".join(parts)


def _shorten(keys: list[str]) -> str:
    shown = ", ".join(keys[:5]) or "nothing"
    return f"{shown} and {len(keys) - 5} more" if len(keys) > 5 else shown


def _widest_dtype(model: nn.Module) -> torch.dtype | None:
    """The type that holds each of the model's numbers without rounding; None if it has none."""
    tensors = (value for value in model.state_dict().values() if isinstance(value, torch.Tensor))
    dtypes = {tensor.dtype for tensor in tensors if tensor.is_floating_point()}
    return functools.reduce(torch.promote_types, dtypes) if dtypes else None

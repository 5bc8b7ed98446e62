"""Histograms of gradients and parameters, taken in the thread that trains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from torch import nn

Histogram = tuple[Any, Any]
"""Counts, and the edges between them, as of `numpy.histogram`."""

_NUM_BINS = 64


def take_histograms(model: nn.Module, watched: str) -> dict[str, Histogram]:
    """Count the values of each parameter and its gradient.

    Args:
        model: The model, between backward and the optimizer's step.
        watched: ``gradients``, ``parameters`` or ``all``.

    Returns:
        Histograms by the names that `wandb.watch` gives them: ``gradients/inner.weight``.
    """
    found: dict[str, Histogram | None] = {}
    for name, parameter in model.named_parameters():
        if watched in ("gradients", "all") and parameter.grad is not None:
            found[f"gradients/{name}"] = _count(parameter.grad)
        if watched in ("parameters", "all"):
            found[f"parameters/{name}"] = _count(parameter)
    return {name: histogram for name, histogram in found.items() if histogram is not None}


def _count(tensor: torch.Tensor) -> Histogram | None:
    """The histogram of what is finite; None if nothing is. Of a sharded tensor, of the part that is here."""
    local = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    if local.is_sparse:
        local = local.coalesce().values()
    values = local.detach().float().cpu().numpy().ravel()
    values = values[np.isfinite(values)]
    return np.histogram(values, bins=_NUM_BINS) if values.size else None

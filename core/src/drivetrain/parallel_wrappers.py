"""Models that come wrapped in torch's modules for several devices: what is asked of the model itself."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel


def unwrap(model: nn.Module) -> Any:
    """The module inside of torch's wrappers for several devices; a model that has none as it is.

    The wrappers' forward takes anything, and the names of their parameters begin with ``module.``.
    """
    while isinstance(model, (DataParallel, DistributedDataParallel)):
        model = model.module
    return model


def computes_in_parts(model: Any) -> bool:
    """Whether each batch is divided over several devices, so that there is a loss for each."""
    return isinstance(model, DataParallel) and len(model.device_ids) > 1

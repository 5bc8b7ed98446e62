"""The configuration of a model as JSON, whichever of the usual forms it has."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn


def describe_model_config(model: nn.Module) -> str | None:
    """A JSON object made of ``model.config``, or None where there is none that can be read.

    A configuration writes itself (``to_json_string`` or ``to_dict``, as those of transformers do),
    is a dataclass, or is a mapping. Values that are no JSON are written as their texts.
    """
    config: Any = getattr(model, "config", None)
    if callable(getattr(config, "to_json_string", None)):
        return str(config.to_json_string())
    values = _as_mapping(config)
    return None if values is None else json.dumps(values, indent=2, default=str)


def _as_mapping(config: Any) -> dict[str, Any] | None:
    if callable(getattr(config, "to_dict", None)):
        return dict(config.to_dict())
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        return dataclasses.asdict(config)
    return {str(key): value for key, value in config.items()} if isinstance(config, Mapping) else None

"""Names and parameters as MLflow takes them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from drivetrain.plugin import Run

MOST_LETTERS = 250
"""Of a name."""

_REFUSED = re.compile(r"[^/\w.\- ]" if os.name == "nt" else r"[^/\w.\- :]")
_REFUSED_IN_FILES = re.compile(r"[^/0-9A-Za-z_.\- ]")


def accepted_name(name: str) -> str:
    """A name for a metric or a parameter: what MLflow refuses in it is replaced by ``_``."""
    return _as_path(_REFUSED.sub("_", name))


def file_name(name: str) -> str:
    """A name for a text or a picture, which become files."""
    return _as_path(_REFUSED_IN_FILES.sub("_", name))


def choose_parameters(run: Run, flattens: bool) -> dict[str, str]:
    """What is told of a run: sizes, arguments, and the model's configuration, as texts by their names.

    An argument hides an entry of the model's configuration that has the same name.
    """
    arguments = {key: value for key, value in run.config.items() if key != "model_config"}
    model = run.config.get("model_config") or {}
    parameters = {**run.facts, **arguments}
    parameters.update((key, value) for key, value in model.items() if key not in parameters)
    if flattens:
        parameters = _flatten(parameters)
    return {accepted_name(str(key)): str(value) for key, value in parameters.items()}


def _flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            flat.update(_flatten(value, f"{name}."))
        else:
            flat[name] = value
    return flat


def _as_path(name: str) -> str:
    """The name without what a path would lose: MLflow may keep each as a file."""
    parts = [part for part in name.split("/") if part not in ("", ".", "..")]
    return "/".join(parts)[:MOST_LETTERS].rstrip("/") or "_"

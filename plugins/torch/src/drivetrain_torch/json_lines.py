"""Values of any kind as a line of JSON that every parser reads."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any

FILE_NAME = "log.jsonl"
"""The file's name, in the folder that a run writes to."""

_ENCODER = json.JSONEncoder(allow_nan=False)


def encode_line(line: Mapping[str, Any]) -> bytes:
    """A JSON object in ASCII and a newline.

    Numbers, texts and their like are written as they are, tensors and arrays as numbers and lists,
    everything else as its text. JSON knows no number that is not finite: a value that is NaN or
    infinite becomes null, and ``"non_finite"`` has its name and what it was (``"NaN"``, ``"Infinity"``,
    ``"-Infinity"``); within lists and dicts, that word stands in its place.
    """
    try:
        text = _ENCODER.encode(line)
    except (TypeError, ValueError, RecursionError):  # rare, and not worth looking for in each line
        text = _ENCODER.encode(_with_json_values(line))
    return text.encode("ascii") + b"\n"


def _with_json_values(line: Mapping[str, Any]) -> dict[str, Any]:
    converted = {str(name): _as_json(value) for name, value in line.items()}
    words = {name: word for name, value in converted.items() if (word := _word_for(value))}
    return {**converted, **dict.fromkeys(words), **({"non_finite": words} if words else {})}


def _as_json(value: Any) -> Any:
    try:
        return _convert(value)
    except Exception:  # whatever the value of some library raises, the rest of the line arrives
        return f"<{type(value).__name__}>"


def _convert(value: Any) -> Any:
    if value is None or isinstance(value, (int, float, str)):
        return value
    if isinstance(value, Real):
        return int(value) if isinstance(value, Integral) else float(value)
    if callable(getattr(value, "tolist", None)):  # of torch, NumPy, or what follows their manners
        return _convert(value.tolist())
    if isinstance(value, Mapping):
        return {str(name): _convert_within(item) for name, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_convert_within(item) for item in value]
    return str(value)


def _convert_within(value: Any) -> Any:
    converted = _as_json(value)
    return _word_for(converted) or converted


def _word_for(value: Any) -> str | None:
    """What a number that is not finite is called in JavaScript."""
    if not isinstance(value, float) or math.isfinite(value):
        return None
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"

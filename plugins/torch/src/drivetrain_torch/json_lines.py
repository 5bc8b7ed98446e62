"""Values of any kind as a line of JSON that every parser reads."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any

FILE_NAME = "log.jsonl"
"""The file's name, in the folder that a run writes to."""

_ENCODER = json.JSONEncoder(allow_nan=False)

_SECRETS = (
    *("password", "passwd", "passphrase", "secret", "credentials"),
    *("api_key", "apikey", "access_key", "private_key"),
)
"""How names end whose values are nobody's business, of whatever type they are."""

_SECRET_TEXTS = re.compile(r".*token|(.*_)?key", re.DOTALL)
"""Names whose values are nobody's business if they are texts: numbers under them count or index."""

_VOCABULARY = re.compile(r"(.*_)?(bos|eos|pad|unk|sep|cls|mask)_token", re.DOTALL)
"""Names of what a tokenizer puts into its texts."""

_IN_BRACKETS = re.compile(r"<.*>|\[.*\]", re.DOTALL)
"""Texts that a tokenizer puts in, under whatever name, and placeholders."""

_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


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


def without_secrets(config: Mapping[str, Any]) -> dict[str, Any]:
    """The same with placeholders for passwords, keys and tokens, however deep.

    They are told by their names alone; the README of this package says by which.
    """
    return {
        name: f"<{name.upper()}>" if _is_secret(name, value) and value else _look_into(value)
        for name, value in config.items()
    }


def _look_into(value: Any) -> Any:
    if isinstance(value, Mapping):
        return without_secrets(value)
    return [_look_into(item) for item in value] if isinstance(value, (list, tuple)) else value


def _is_secret(name: Any, value: Any) -> bool:
    if not isinstance(name, str):
        return False
    name = _HUMP.sub("_", name).replace("-", "_").lower()
    if name.endswith(_SECRETS):
        return True
    if not isinstance(value, (str, bytes)) or not _SECRET_TEXTS.fullmatch(name):
        return False
    return not (
        _VOCABULARY.fullmatch(name) or (isinstance(value, str) and _IN_BRACKETS.fullmatch(value))
    )


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

"""YAML front matter of a Markdown file, written so that every reader of YAML 1.1 and 1.2 agrees on it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

_PLAIN = re.compile(r"[A-Za-z](?:[\w./-]*\w)?", re.ASCII)
"""Texts that need no quotes, but for those that mean something else."""

_RESERVED = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}

_UNPRINTABLE = re.compile(
    "[^\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)
"""What a quoted text has to escape: YAML takes some of it for line breaks, and forbids the rest."""


def front_matter(metadata: Mapping[str, Any]) -> str:
    """Metadata as the front matter of a file; what is None or empty is left out.

    Args:
        metadata: Texts, numbers and booleans, and lists and mappings of such to any depth.
    """
    given = {key: value for key, value in metadata.items() if value not in (None, "", [], {})}
    return "\n".join(["---", *(_lines(given) if given else ()), "---", ""])


def _lines(value: Any) -> list[str]:
    if isinstance(value, Mapping) and value:
        return [line for key, item in value.items() for line in _entry(str(key), item)]
    if isinstance(value, (list, tuple)) and value:
        return [line for item in value for line in _item(item)]
    return [_scalar(value)]


def _entry(key: str, value: Any) -> list[str]:
    lines = _lines(value)
    if isinstance(value, (Mapping, list, tuple)) and value:
        return [f"{_text(key)}:", *(f"  {line}" for line in lines)]
    return [f"{_text(key)}: {lines[0]}"]


def _item(value: Any) -> list[str]:
    first, *rest = _lines(value)
    return [f"- {first}", *(f"  {line}" for line in rest)]


def _scalar(value: Any) -> str:
    if value is None or isinstance(value, (bool, int)):
        return json.dumps(value)
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, (Mapping, list, tuple)):
        return "{}" if isinstance(value, Mapping) else "[]"
    return _text(str(value))


def _number(value: float) -> str:
    if math.isnan(value):
        return ".nan"
    if math.isinf(value):
        return ".inf" if value > 0 else "-.inf"
    digits, e, exponent = repr(float(value)).partition("e")
    return (
        digits + (".0" if e and "." not in digits else "") + e + exponent
    )  # 1e-05 is a text to YAML 1.1


def _text(text: str) -> str:
    if _PLAIN.fullmatch(text) and text.lower() not in _RESERVED:
        return text
    quoted = json.dumps(text.encode("utf-8", "replace").decode("utf-8"), ensure_ascii=False)
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", quoted)

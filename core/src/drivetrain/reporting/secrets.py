"""Keeps passwords, keys and tokens out of what is told of a run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

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


def without_secrets(config: Mapping[str, Any]) -> dict[str, Any]:
    """The same with placeholders for passwords, keys and tokens, however deep.

    They are told by their names alone: what ends in ``password``, ``secret``, ``api_key`` and the like, and
    texts under names that end in ``token`` or ``key``, but for those that a tokenizer puts into its texts.
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

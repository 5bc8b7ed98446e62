"""Environment variables that say yes or no."""

from __future__ import annotations

import os
from collections.abc import Iterator

_YES = ("1", "true", "yes", "on", "y", "t")
_NO = ("0", "false", "no", "off", "n", "f")


def read_switch(variable: str) -> bool | None:
    """Whether a variable says yes, in any of the usual words; None if it is empty, or not set, or unclear."""
    word = _read_word(variable)
    return True if word in _YES else False if word in _NO else None


def find_unclear_switches(*variables: str) -> Iterator[str]:
    """A message, for `Plugin.problems`, about each variable that says neither yes nor no."""
    for variable in variables:
        word = _read_word(variable)
        if word and word not in (*_YES, *_NO):
            yield (
                f"`report_to`: {variable}={os.environ[variable]!r} is neither true nor false. "
                f"Type: export {variable}=true"
            )


def _read_word(variable: str) -> str:
    return os.environ.get(variable, "").strip().lower()

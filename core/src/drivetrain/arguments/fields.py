"""How an argument is declared: a dataclass field with its help."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any


def argument(default: Any, help: str, choices: Sequence[str] | None = None) -> Any:
    """A dataclass field with a default, the sentence that documents it, and the values that it can have."""
    metadata = {"help": help} if choices is None else {"help": help, "choices": list(choices)}
    return dataclasses.field(default=default, metadata=metadata)


def argument_factory(factory: Callable[[], Any], help: str) -> Any:
    """The same for a default that is made anew for each instance, such as a dict."""
    return dataclasses.field(default_factory=factory, metadata={"help": help})

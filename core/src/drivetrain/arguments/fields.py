"""How an argument is declared: a dataclass field with its help."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any


def argument(default: Any, help: str) -> Any:
    """A dataclass field with a default and the sentence that documents it."""
    return dataclasses.field(default=default, metadata={"help": help})


def argument_factory(factory: Callable[[], Any], help: str) -> Any:
    """The same for a default that is made anew for each instance, such as a dict."""
    return dataclasses.field(default_factory=factory, metadata={"help": help})

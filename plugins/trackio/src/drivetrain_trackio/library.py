"""The library trackio, imported when it is needed, and kept from printing."""

from __future__ import annotations

import builtins
import importlib
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

logger = logging.getLogger(__name__)

_WHO_PRINT = ("trackio", "trackio.run", "trackio.utils", "trackio.deploy")

_here = threading.local()


@contextmanager
def in_silence(is_local: bool) -> Iterator[None]:
    """Have what trackio prints in this thread logged instead, and no account looked up for a local run."""
    _here.is_silent, _here.is_local = True, is_local
    try:
        yield
    finally:
        _here.is_silent = _here.is_local = False


def load_trackio() -> Any:
    """Import trackio, and have it print through `in_silence`.

    It prints with the builtin, several lines for each run; standard output is redirected for a whole
    process or not at all. So the name ``print`` is another one in its modules.
    """
    trackio = importlib.import_module("trackio")
    for name in _WHO_PRINT:
        vars(importlib.import_module(name))["print"] = _print
    run = importlib.import_module("trackio.run")
    ask = getattr(run, "_get_default_namespace", None)
    if ask is not None and not hasattr(ask, "asks"):
        _name_of_user.asks = ask  # type: ignore[attr-defined]
        run._get_default_namespace = _name_of_user  # type: ignore[attr-defined]
    return trackio


def _print(*texts: Any, **options: Any) -> None:
    if getattr(_here, "is_silent", False):
        logger.debug("%s", options.get("sep", " ").join(map(str, texts)))
    else:
        builtins.print(*texts, **options)


def _name_of_user() -> str:
    """Who is logged in to the Hub, which is asked over the network: not for a run that stays here."""
    if getattr(_here, "is_local", False):
        raise LookupError("not looked up")
    return str(_name_of_user.asks())  # type: ignore[attr-defined]

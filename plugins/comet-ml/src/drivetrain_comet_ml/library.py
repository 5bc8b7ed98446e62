"""The import of comet_ml, without all that it does to a process besides."""

from __future__ import annotations

import logging
import os
import random
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from drivetrain.plugin import Forwarding, quietly

logger = logging.getLogger(__name__)

_IMPORTED_WITH = {"COMET_DISABLE_AUTO_LOGGING": "1", "COMET_ERROR_TRACKING_ENABLE": "0"}
"""No patches of the modules that are imported later, and no reports of errors to Comet's makers."""


def load_comet() -> Any:
    """Import comet_ml, quietly; the first time, this belongs into the thread that trains.

    The library's own import draws from Python's random numbers, hooks into the import of other modules
    and into uncaught exceptions, and writes to the terminal. What the user imported before is left as it
    is, but for the random numbers that its modules draw later.
    """
    if "comet_ml" not in sys.modules:
        hook, state = sys.excepthook, random.getstate()
        try:
            with _variables(_IMPORTED_WITH), quietly():
                import comet_ml
        finally:
            sys.excepthook = hook
            random.setstate(state)
        _speak_through_logging(comet_ml)
    import comet_ml

    _separate_random_numbers("comet_ml")
    return comet_ml


@contextmanager
def _variables(values: Mapping[str, str]) -> Iterator[None]:
    """Environment variables for a moment, where the user has set none."""
    added = [name for name in values if name not in os.environ]
    os.environ.update({name: values[name] for name in added})
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


def _separate_random_numbers(package: str) -> None:
    """Give a library a generator of its own: it draws in threads, while the training draws from Python's."""
    own = random.Random()
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == package and getattr(module, "random", None) is random:
            module.random = own  # type: ignore[attr-defined]


def _speak_through_logging(comet_ml: Any) -> None:
    """Warnings and errors of the library go where drivetrain's go; unless the user chose a level himself."""
    if "COMET_LOGGING_CONSOLE" in os.environ:
        return
    theirs = logging.getLogger(comet_ml.__name__)
    for handler in list(theirs.handlers):
        if type(handler) is logging.StreamHandler:
            theirs.removeHandler(handler)
    theirs.addHandler(Forwarding(logger, "Comet"))


class Listening(logging.Handler):
    """Remembers the last error that the library logs: it raises few, and logs the reason of most."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.last = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.last = record.getMessage()

    def __enter__(self) -> Listening:
        logging.getLogger("comet_ml").addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("comet_ml").removeHandler(self)

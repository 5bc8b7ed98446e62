"""Using libraries that have much to say, above all while they are imported."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quietly(*logger_names: str) -> Iterator[None]:
    """Let pass errors only, of Python's warnings and of what these loggers are given.

    For what a library says of things that a plugin has no use for, most of which is said at its import::

        with quietly("bitsandbytes"):
            import bitsandbytes

    Args:
        logger_names: The library's loggers; those below them are as quiet, unless they have levels of
            their own.
    """
    loggers = [logging.getLogger(name) for name in logger_names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)

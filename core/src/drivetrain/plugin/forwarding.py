"""What a library logs, said where drivetrain's own messages are."""

from __future__ import annotations

import logging


class Forwarding(logging.Handler):
    """Passes warnings and errors of a library on, each once however often it is repeated.

    Args:
        logger: Where to: that of the plugin's module.
        title: What stands before each message: the name of the library.
    """

    def __init__(self, logger: logging.Logger, title: str) -> None:
        super().__init__(logging.WARNING)
        self._logger, self._title = logger, title
        self._said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Log the message, unless it was before."""
        message = record.getMessage()
        if message not in self._said:
            self._said.add(message)
            self._logger.log(record.levelno, "%s: %s", self._title, message)

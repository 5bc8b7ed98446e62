"""What codecarbon logs: kept from the terminal, and its errors raised where they happened."""

from __future__ import annotations

import logging

logger = logging.getLogger(__name__)

_LIBRARY = "codecarbon"


class Listener(logging.Handler):
    """Takes the place of the handlers of codecarbon's logger, which write to standard error.

    The tracker catches what goes wrong in it and logs it as a warning. Here that error is kept, for
    `raise_error`; other errors that it logs are passed on, each once.

    Args:
        is_alone: Remove the other handlers. Not where the user asked codecarbon for a log level.
    """

    def __init__(self, is_alone: bool) -> None:
        super().__init__(logging.WARNING)
        self._is_alone = is_alone
        self._others: list[logging.Handler] = []
        self._error: BaseException | None = None
        self._said: set[str] = set()

    def begin(self) -> None:
        """Listen, and be the only one who does."""
        library = logging.getLogger(_LIBRARY)
        self._others = library.handlers[:]
        self.hush()

    def hush(self) -> None:
        """Remove handlers again: each new tracker adds one."""
        library = logging.getLogger(_LIBRARY)
        others = [] if self._is_alone else [one for one in library.handlers if one is not self]
        library.handlers = [*others, self]

    def end(self) -> None:
        """Put back what was there."""
        logging.getLogger(_LIBRARY).handlers = self._others

    def emit(self, record: logging.LogRecord) -> None:
        """Keep an error, or pass a message on."""
        error = record.exc_info[1] if record.exc_info else None
        message = record.getMessage()
        if error is not None:
            self._error = self._error or error
        elif record.levelno >= logging.ERROR and message not in self._said:
            self._said.add(message)
            logger.warning("CodeCarbon: %s", message)

    def raise_error(self) -> None:
        """Raise the first error since the last time, if there is one."""
        error, self._error = self._error, None
        if error is not None:
            raise RuntimeError(f"codecarbon failed with {type(error).__name__}: {error}") from error

"""What swanlab says: kept from the terminal, and passed on to logging where it is worth it."""

from __future__ import annotations

import logging
import re

from drivetrain_swanlab import library

logger = logging.getLogger(__name__)

_LIBRARY = "swanlab.internal"
_FRONT = re.compile(r"^.*? \| [A-Z]+ +\| \S+ - ", re.DOTALL)
"""What stands before its messages: the time, the level and the place in its code."""

_NUMBERS = re.compile(r"\d+")


class Listener(logging.Handler):
    """Passes swanlab's warnings and errors on, each once however often it is repeated.

    Attributes:
        errors: The errors since they were last cleared.
        hint: What is added to each message.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.errors: list[str] = []
        self.hint = ""
        self._said: set[str] = set()

    def begin(self) -> None:
        """Listen, and silence the terminal."""
        library.set_quiet(True)
        logging.getLogger(_LIBRARY).addHandler(self)

    def end(self) -> None:
        """Leave swanlab as it was."""
        logging.getLogger(_LIBRARY).removeHandler(self)
        library.set_quiet(False)

    def emit(self, record: logging.LogRecord) -> None:
        """Note an error, and pass a message on if it is a new one, whatever the numbers in it."""
        message = _FRONT.sub("", record.getMessage()).strip()
        if record.levelno >= logging.ERROR:
            self.errors.append(message.splitlines()[-1] if message else "")
        key = _NUMBERS.sub("0", message.splitlines()[0] if message else "")
        is_of_use = "[HTTP] retry" not in message  # it says so itself where it gives up
        if is_of_use and key not in self._said:
            self._said.add(key)
            logger.warning("SwanLab: %s%s", message, self.hint)

    def raise_error(self) -> None:
        """Raise the first error since they were cleared, if there is one."""
        found, self.errors = self.errors, []
        if found:
            raise RuntimeError(f"swanlab: {found[0]}{self.hint}")

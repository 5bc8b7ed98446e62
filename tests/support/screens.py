"""A terminal for standard error: what was written to it, and what is on its screen at the end."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import sys
import termios
import threading

import pytest


class Terminal:
    """A real pseudo-terminal in place of ``sys.stderr``, so wide; `close` returns what was written."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, num_columns: int = 120) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, num_columns, 0, 0))
        self._written = b""
        self._file = os.fdopen(slave, "w")
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        monkeypatch.setattr(sys, "stderr", self._file)

    def _read(self) -> None:
        while True:
            try:
                read = os.read(self._master, 4096)
            except OSError:  # the other end is closed
                return
            if not read:
                return
            self._written += read

    def close(self) -> str:
        """Close it, and return what was written."""
        self._file.close()
        self._reader.join(30)
        os.close(self._master)
        return self._written.decode()


def screen_of(written: str) -> list[str]:
    """The lines that are on the screen after that was written."""
    lines = [""]
    row = column = 0
    for character in written.replace("\x1b[A", "\v"):
        if character == "\r":
            column = 0
        elif character == "\v":
            row -= 1
        elif character == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        else:
            lines[row] = lines[row][:column].ljust(column) + character + lines[row][column + 1 :]
            column += 1
    return [line.rstrip() for line in lines]

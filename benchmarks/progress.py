"""What a benchmark is doing at the moment, for whoever waits: one line on a terminal, lines elsewhere."""

from __future__ import annotations

import shutil
import sys


def show(text: str) -> None:
    """Say what is being done now; on a terminal it takes the place of what was said before."""
    if sys.stderr.isatty():
        width = shutil.get_terminal_size().columns - 1
        print(f"\r\x1b[K{text[:width]}", end="", file=sys.stderr, flush=True)
    else:
        print(text, file=sys.stderr, flush=True)


def clear() -> None:
    """Nothing more is being done: leave an empty line to print on."""
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)

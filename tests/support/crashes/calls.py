"""Calls on files, seen as the interpreter makes them; a process can end itself just before one."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections import Counter, deque
from types import FrameType
from typing import Any, NamedTuple

CALLS = {
    *("open", "write", "writelines", "flush", "fsync", "truncate"),
    *("replace", "rename", "link", "symlink", "mkdir", "unlink", "remove", "rmdir"),
    *("write_record", "write_end_of_file", "serialize_file"),
}
"""Functions written in C that change files, of Python, of torch and of safetensors."""

_NO_FILES = (str, bytes, bytearray, list, set, dict, deque)


class Call(NamedTuple):
    """A call on files.

    Attributes:
        name: The function that is called.
        place: The file and the line that it is called from; empty: any.
        ordinal: Calls from that place before it, since calls are counted; for any place, of that name.
        update: The update after which it was seen.
    """

    name: str
    place: str
    ordinal: int
    update: int = 0


class CallTracer:
    """Sees every call on files of this process from an update on, whichever thread makes it.

    The code that saves is not altered: the interpreter itself says what it is about to call.

    Args:
        first_update: The update whose end the first call comes after.
        kill_at: The call before which the process kills itself, whatever its update is; None: it notes
            all calls.
    """

    def __init__(self, first_update: int, kill_at: Call | None) -> None:
        self.first_update = first_update
        self.kill_at = kill_at[:3] if kill_at else None
        self.update = 0
        self.calls: list[Call] = []
        self.counts: Counter[str] = Counter()
        self.process = os.getpid()
        self.lock = threading.Lock()

    def reach(self, update: int) -> None:
        """The run has done this many updates. From the first on, see this thread and those that begin."""
        self.update = update
        if update >= self.first_update:
            threading.setprofile(self.see)
            sys.setprofile(self.see)

    def stop(self) -> None:
        """See no more."""
        sys.setprofile(None)
        threading.setprofile(None)

    def see(self, frame: FrameType, event: str, function: Any) -> None:
        """Called by the interpreter for each call and return."""
        if event != "c_call" or function.__name__ not in CALLS:
            return
        if isinstance(getattr(function, "__self__", None), _NO_FILES) or os.getpid() != self.process:
            return  # a text's `replace`, say; a loading process
        if frame.f_globals["__name__"].startswith("crashes."):
            return  # what is told through the pipe
        place = f"{os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno}"
        with self.lock:
            call = Call(function.__name__, place, self.counts[place], self.update)
            anywhere = (call.name, "", self.counts[call.name])
            if self.kill_at in (call[:3], anywhere):
                os.kill(self.process, signal.SIGKILL)
            self.counts.update((place, call.name))
            self.calls.append(call)

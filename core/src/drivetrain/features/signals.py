"""Watching for signals of the operating system."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterable
from typing import Any

logger = logging.getLogger(__name__)

Handler = Any
"""What `signal.getsignal` returns: a function, ``SIG_DFL``, ``SIG_IGN``, or None if it is not of Python."""


class SignalWatch:
    """Notes that one of some signals came. From then on all of them do what they do by default.

    A signal that the program handles or ignores already is left alone. Watches can be nested: the inner one
    notes, and the outer one is told at the inner one's end.

    Args:
        names: The signals; those that this operating system does not have are passed over.
        announcement: What is written to the standard error output when one comes, after its name.

    Attributes:
        noted: The name of the signal that came; None if none did.
    """

    def __init__(self, names: Iterable[str], announcement: str) -> None:
        self.names = tuple(names)
        self.announcement = announcement
        self.noted: str | None = None
        self._before: dict[signal.Signals, Handler] = {}
        self._process: int | None = None

    @property
    def is_watching(self) -> bool:
        """Whether any signal would be noted."""
        return bool(self._before)

    def begin(self) -> None:
        """Watch from now on, if this is the main thread: Python handles signals in no other."""
        if self._before:
            return  # a run that was begun again
        if threading.current_thread() is not threading.main_thread():
            logger.info(
                "Training runs beside the main thread: %s end it at once.", ", ".join(self.names)
            )
            return
        self._process = os.getpid()
        for number in find_signals(self.names):
            before = signal.getsignal(number)
            if before in (signal.SIG_DFL, _default(number)) or _watch_of(before) is not None:
                signal.signal(number, self._handle)
                self._before[number] = before
            else:
                how = "ignores" if before == signal.SIG_IGN else "handles"
                logger.info("The program %s %s itself, which is left so.", how, number.name)

    def end(self) -> None:
        """Put back what was there, but for what was replaced in the meantime."""
        noted, self.noted = self.noted, None
        before, self._before = self._before, {}
        for number, handler in before.items():
            outer = _watch_of(handler)
            if noted is not None and outer is not None:
                outer.note(noted)
            elif signal.getsignal(number) == self._handle:
                signal.signal(number, handler)

    def note(self, name: str) -> None:
        """Note a signal, and let the next one do what it does by default."""
        self.noted = name
        for number in self._before:
            if signal.getsignal(number) == self._handle:
                signal.signal(number, _default(number))

    def _handle(self, number: int, frame: Any) -> None:
        signum = signal.Signals(number)
        if os.getpid() != self._process:  # a process that was forked, and has this from its parent
            signal.signal(signum, _default(signum))
            os.kill(os.getpid(), number)
            return
        self.note(signum.name)
        with contextlib.suppress(OSError):  # nobody may be there to read it
            os.write(2, f"{signum.name}: {self.announcement}\n".encode())


class InLoadingProcess:
    """What a loading process begins with: the signals of its group are for the process that trains.

    It leaves the group, which launchers and shells signal as a whole, and it ignores the signals that PyTorch
    does not end it with. Otherwise it would end before the update is done that it loads data for.

    Args:
        names: The signals that the process that trains watches for.
        then: What the process would begin with otherwise: a ``worker_init_fn``.
    """

    def __init__(self, names: Iterable[str], then: Callable[[int], None] | None) -> None:
        self.names = tuple(names)
        self.then = then

    def __call__(self, worker: int) -> None:
        """Begin the loading process of this number."""
        if hasattr(os, "setpgid"):
            with contextlib.suppress(OSError):  # a sandbox may forbid it; data is loaded all the same
                os.setpgid(0, 0)
        for number in find_signals(self.names):
            if number != signal.SIGTERM:
                signal.signal(number, signal.SIG_IGN)
        if self.then is not None:
            self.then(worker)


def find_signals(names: Iterable[str]) -> list[signal.Signals]:
    """The signals of these names that this operating system has."""
    return [signal.Signals[name] for name in names if name in signal.Signals.__members__]


def _default(number: signal.Signals) -> Handler:
    """What Python does at a signal: it raises KeyboardInterrupt at one, and leaves the others as they are."""
    return signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL


def _watch_of(handler: Handler) -> SignalWatch | None:
    owner = getattr(handler, "__self__", None)
    return owner if isinstance(owner, SignalWatch) else None

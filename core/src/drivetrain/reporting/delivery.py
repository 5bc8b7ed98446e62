"""How calls come to a reporter: at once, or through a queue to a thread of its own."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from typing import Protocol

from drivetrain.plugin.reporter import Outcome, ReporterPlugin
from drivetrain.reporting.courier import MOST_KEPT, Call, Courier

logger = logging.getLogger(__name__)

_SECONDS_OF_SILENCE = 3.0
"""How long a run waits for a reporter before that is said."""


class Delivery(Protocol):
    """Brings calls to a reporter, in their order."""

    @property
    def has_opened(self) -> bool:
        """Whether the reporter's `open` has returned."""

    def send(self, call: Call) -> None:
        """Have a call made."""

    def end(self, outcome: Outcome) -> None:
        """Have the reporter closed, after all that was sent."""

    def wait(self, deadline: float) -> bool:
        """Wait until all that was sent is done, or until a time of `time.monotonic`; return whether it is."""


class DirectDelivery:
    """Makes each call in the thread that sends it, before it goes on."""

    def __init__(self, reporter: ReporterPlugin, raises: bool) -> None:
        self._courier = Courier(reporter, () if raises else (Exception, SystemExit))

    @property
    def has_opened(self) -> bool:
        """Whether the reporter's `open` has returned."""
        return self._courier.has_opened

    def send(self, call: Call) -> None:
        """Make the call."""
        self._courier.take(call)

    def end(self, outcome: Outcome) -> None:
        """Close the reporter."""
        self._courier.end(outcome)

    def wait(self, deadline: float) -> bool:
        """There is nothing to wait for."""
        return True


class QueuedDelivery:
    """Makes the calls in a thread that lives as long as there is something to do.

    However long a call takes, who sends one does not wait. The thread does not keep the process from ending.

    Args:
        reporter: The reporter.
        patience: Seconds that a call may take before that is said, and that the reporter has at the end.
    """

    def __init__(self, reporter: ReporterPlugin, patience: float) -> None:
        self._courier = Courier(reporter, (BaseException,))  # nobody else interrupts the thread
        self._patience = patience
        self._waiting: deque[Call] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._current: Call | None = None
        self._begun = 0.0
        self._is_wanted = False
        self._is_slowness_said = False

    @property
    def has_opened(self) -> bool:
        """Whether the reporter's `open` has returned."""
        return self._courier.has_opened

    def send(self, call: Call) -> None:
        """Put a call at the end of the queue; if that is full, the call is not made."""
        with self._changed:
            self._warn_of_slowness()
            if len(self._waiting) >= MOST_KEPT and call.method != "end":
                self._courier.lose(call)
                return
            self._is_wanted = call.method != "end"
            self._waiting.append(call)
            if call.method == "log_checkpoint":
                self._courier.thin_out(self._waiting)
            if self._thread is None:
                name = f"reporter {self._courier.name}"
                self._thread = threading.Thread(target=self._work, name=name, daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def end(self, outcome: Outcome) -> None:
        """Have the reporter closed after all that waits."""
        self.send(Call("end", (outcome,), 0))

    def wait(self, deadline: float) -> bool:
        """Wait until the queue is empty; if it is not at the deadline, say so and go on."""
        with self._changed:
            self._wait_until(min(deadline, time.monotonic() + _SECONDS_OF_SILENCE))
            left = deadline - time.monotonic()
            if left > 0 and not self._is_idle:
                logger.warning(
                    "Waiting for the reporter %r (%d calls), %.0f s at most.",
                    self._courier.name,
                    len(self._waiting) + 1,
                    left,
                )
                self._wait_until(deadline)
            if self._is_idle:
                return True
            method = "close" if self._current is None else self._current.method
            num_logs = sum(call.method == "log" for call in self._waiting)
            taken = time.monotonic() - self._begun
            self._courier.is_left_behind = True
        logger.warning(
            "The reporter %r is not done %g s after the run: it has been in `%s` for %.0f s, and %d logs "
            "wait for it. It goes on as long as the process lives; `reporter_timeout` is how long to wait.",
            self._courier.name,
            self._patience,
            "close" if method == "end" else method,
            taken,
            num_logs,
        )
        return False

    def _wait_until(self, deadline: float) -> None:
        self._changed.wait_for(lambda: self._is_idle, max(0.0, deadline - time.monotonic()))

    @property
    def _is_idle(self) -> bool:
        return not self._waiting and self._current is None

    def _work(self) -> None:
        while (call := self._next()) is not None:
            if call.method == "end":
                self._courier.end(*call.arguments)
            else:
                self._courier.take(call)
            with self._changed:
                self._current = None
                self._changed.notify_all()

    def _next(self) -> Call | None:
        """The next call; None when the reporter is closed and there is none."""
        with self._changed:
            while not self._waiting:
                if not self._is_wanted:
                    self._thread = None
                    return None
                self._changed.wait()
            self._current, self._begun = self._waiting.popleft(), time.monotonic()
            return self._current

    def _warn_of_slowness(self) -> None:
        if self._current is None or self._is_slowness_said:
            return
        taken = time.monotonic() - self._begun
        if taken > self._patience:
            self._is_slowness_said = True
            logger.warning(
                "The reporter %r has been in `%s` for %.0f s; training goes on, and %d calls wait for it.",
                self._courier.name,
                self._current.method,
                taken,
                len(self._waiting),
            )

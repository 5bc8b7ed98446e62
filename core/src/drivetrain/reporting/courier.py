"""Calls one reporter and keeps its errors from the run."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from drivetrain.plugin.reporter import Outcome, ReporterPlugin

logger = logging.getLogger(__name__)

MOST_KEPT = 10_000
"""Calls that wait for a reporter, or to be tried once more; what comes beyond that is missed."""
MOST_CHECKPOINTS = 3
"""How many of them may have a checkpoint's files: the oldest is missed when another comes."""

_FAILURES_BEFORE_OFF = 3


def _nothing() -> None:
    """What is done after a call that leaves nothing behind."""


class Call(NamedTuple):
    """A call of a reporter's method.

    Attributes:
        method: Its name.
        arguments: What it is called with.
        step: The update that it tells of.
        release: Called when the call was made, or will never be.
    """

    method: str
    arguments: tuple[Any, ...]
    step: int
    release: Callable[[], None] = _nothing


class Courier:
    """Calls one reporter's methods, and goes on if they raise.

    An error is logged once, with the reporter's name. A reporter that could not be opened, or that failed
    three times in a row, is left alone until the run ends. Then all that failed is tried once more, in
    its order, and what did not arrive is said.

    Attributes:
        has_opened: `open` has returned, in this run or the last.
        is_left_behind: Nobody waits any more: what fails from now on was said to be late, and no more is.

    Args:
        reporter: The reporter.
        caught: The errors that are kept from the run; others are let through.
    """

    def __init__(self, reporter: ReporterPlugin, caught: tuple[type[BaseException], ...]) -> None:
        self._reporter = reporter
        self._caught = caught
        self.has_opened = False
        self._is_open = False
        self._is_off = False
        self._failures = 0
        self._has_complained = False
        self.is_left_behind = False
        self._kept: deque[Call] = deque()
        self._lost: list[Call] = []

    @property
    def name(self) -> str:
        """What the user called the reporter."""
        return self._reporter.name or type(self._reporter).__name__

    def take(self, call: Call) -> None:
        """Make a call, or keep it until the run ends."""
        if call.method == "open":
            self._begin(call)
        elif not self._caught and not self._is_open:  # the error of `open` has ended the run
            call.release()
        elif self._is_off or not self._make(call):
            self._keep(call)

    def end(self, outcome: Outcome) -> None:
        """Try again what failed, close the reporter if it is open, and say what it missed."""
        try:
            if self._kept:
                self._try_again()
            if self._is_open:
                self._is_open = False
                self._failures = 0
                self._make(Call("close", (outcome,), 0))
        finally:
            self._say_what_is_missed()
            self._is_off, self._failures = False, 0

    def lose(self, call: Call) -> None:
        """Give a call up; `end` says so."""
        self._lost.append(call)
        call.release()

    def _begin(self, call: Call) -> None:
        self.is_left_behind = self._has_complained = False
        self.has_opened = False
        self.has_opened = self._is_open = self._make(call)
        if not self._is_open:
            self._is_off = True
            self._kept.append(call)
            if not self.is_left_behind:
                logger.warning("The reporter %r could not be opened and is switched off.", self.name)

    def _make(self, call: Call) -> bool:
        """Make a call; return whether it did not raise."""
        try:
            getattr(self._reporter, call.method)(*call.arguments)
        except self._caught as error:  # whatever a reporter raises, the run goes on
            self._note_failure(call.method, error)
            return False
        except BaseException:
            call.release()
            raise
        self._failures = 0
        call.release()
        return True

    def _note_failure(self, method: str, error: BaseException) -> None:
        self._failures += 1
        if not self._has_complained and not self.is_left_behind:
            self._has_complained = True
            logger.error(
                "The reporter %r failed in `%s`; training goes on.", self.name, method, exc_info=error
            )
        if self._failures == _FAILURES_BEFORE_OFF and self._is_open and not self._is_off:
            self._is_off = True
            logger.warning(
                "The reporter %r failed %d times in a row and is switched off.",
                self.name,
                _FAILURES_BEFORE_OFF,
            )

    def _keep(self, call: Call) -> None:
        if len(self._kept) < MOST_KEPT:
            self._kept.append(call)
            self.thin_out(self._kept)
        else:
            self.lose(call)

    def thin_out(self, calls: deque[Call]) -> None:
        """Give up the oldest checkpoint of those that wait, if they are too many for a disk."""
        checkpoints = [call for call in calls if call.method == "log_checkpoint"]
        if len(checkpoints) > MOST_CHECKPOINTS:
            calls.remove(checkpoints[0])
            self.lose(checkpoints[0])

    def _try_again(self) -> None:
        """Make the calls that failed once more, until it seems to be of no use."""
        kept, self._kept = self._kept, deque()
        self._failures = 0
        was_open, num_logs = self._is_open, sum(call.method == "log" for call in kept)
        while kept and self._failures < _FAILURES_BEFORE_OFF:
            call = kept.popleft()
            has_arrived = self._make(call)
            if call.method == "open":
                self.has_opened = self._is_open = has_arrived
                if not has_arrived:
                    break
            elif not has_arrived:
                self.lose(call)
        for call in kept:
            self.lose(call)
        if not self._lost and (num_logs or not was_open):
            logger.warning(
                "The reporter %r works again: it has got the %d logs that it had missed.",
                self.name,
                num_logs,
            )

    def _say_what_is_missed(self) -> None:
        lost, self._lost = self._lost, []
        steps = [call.step for call in lost if call.method == "log"]
        if steps:
            logger.warning(
                "The reporter %r missed %d logs, of the steps %d to %d. They are in the trainer's "
                "`state.log_history`.",
                self.name,
                len(steps),
                min(steps),
                max(steps),
            )
        for call in lost:
            if call.method.startswith("log_"):
                what = "model" if call.method == "log_model" else "checkpoint"
                logger.warning("The reporter %r missed the %s of step %d.", self.name, what, call.step)

"""How a run is left before its end, on purpose."""

from __future__ import annotations

PREEMPTED_EXIT_CODE = 75
"""What a process that was preempted exits with: it can be started again, and goes on.

As ``EX_TEMPFAIL`` of sysexits.h, for schedulers and scripts to tell it from an error.
"""


class Preempted(SystemExit):
    """Leaves `Trainer.train` after a signal, and the process if nobody catches it.

    Args:
        message: What was saved, and how to go on.
        code: The exit code: `PREEMPTED_EXIT_CODE`, or 1 if there is no checkpoint of the last update.
    """

    def __init__(self, message: str, code: int = PREEMPTED_EXIT_CODE) -> None:
        super().__init__(message)
        self.code = code


class EvaluationInterrupted(BaseException):
    """Breaks off an evaluation that the loop asked for; the run saves, and makes up for it later.

    No `Exception`: code that goes on after a failed evaluation is not meant to go on after this.
    """

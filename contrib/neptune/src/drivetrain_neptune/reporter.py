"""The name `neptune`, which leads to an explanation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from drivetrain.plugin import ReporterPlugin, Run, UsageError

EXPLANATION = (
    "`report_to`: 'neptune' leads nowhere any more. The press reported in December 2025 that OpenAI buys "
    "neptune.ai; neptune-scale has had no release since November 2025, and neptune none since March 2026. "
    "Type report_to='wandb', 'mlflow', 'trackio' or 'tensorboard' instead, or 'jsonl', which needs nothing "
    "else. What you logged offline can be read: see the README of drivetrain-neptune."
)


class Neptune(ReporterPlugin):
    """Reports nothing: it tells those who ask for Neptune what became of it, and what to type instead.

    With ``report_to="all"`` it is passed over like any reporter that cannot be used.
    """

    def problems(self) -> Iterable[str]:
        """Say what became of Neptune."""
        yield EXPLANATION

    def open(self, run: Run) -> None:
        """Refuse; nobody comes here whose arguments were checked.

        Raises:
            UsageError: Always, with `EXPLANATION`.
        """
        raise UsageError(EXPLANATION)

    def log(self, values: Mapping[str, Any], step: int) -> None:
        """Refuse, as `open` does."""
        raise UsageError(EXPLANATION)

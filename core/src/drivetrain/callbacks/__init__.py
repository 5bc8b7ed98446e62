"""Callbacks: the base class, and those that come with core."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from drivetrain.callbacks.callback import TrainerCallback as TrainerCallback
from drivetrain.callbacks.early_stopping import EarlyStoppingCallback as EarlyStoppingCallback
from drivetrain.callbacks.flow import DefaultFlowCallback as DefaultFlowCallback
from drivetrain.callbacks.handler import CallbackHandler as CallbackHandler
from drivetrain.callbacks.printer import PrinterCallback as PrinterCallback
from drivetrain.callbacks.progress import ProgressCallback as ProgressCallback

if TYPE_CHECKING:
    from drivetrain.callbacks.notebook import NotebookProgressCallback as NotebookProgressCallback

__all__ = [
    "CallbackHandler",
    "DefaultFlowCallback",
    "EarlyStoppingCallback",
    "NotebookProgressCallback",
    "PrinterCallback",
    "ProgressCallback",
    "TrainerCallback",
]


if not TYPE_CHECKING:  # or every name would be taken for one that is there

    def __getattr__(name: str) -> Any:
        if name != "NotebookProgressCallback":  # which few runs need, and which draws a page
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from drivetrain.callbacks.notebook import NotebookProgressCallback

        return NotebookProgressCallback


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

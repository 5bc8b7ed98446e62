"""The callbacks of a run: those that come with the trainer, around those that it was given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from drivetrain.callbacks.callback import TrainerCallback
from drivetrain.callbacks.early_stopping import EarlyStoppingCallback
from drivetrain.callbacks.flow import DefaultFlowCallback
from drivetrain.callbacks.reporting import make_reporter_callbacks
from drivetrain.callbacks.surroundings import progress_callback_class

if TYPE_CHECKING:
    from drivetrain.arguments import TrainingArguments

Callback = TrainerCallback | type[TrainerCallback]


def callbacks_of(args: TrainingArguments, given: Sequence[Callback]) -> list[Callback]:
    """All callbacks in the order in which they are called: flow, reporters, those given, progress."""
    return [
        DefaultFlowCallback,
        *make_reporter_callbacks(args),
        *given,
        *_early_stopping(args, given),
        progress_callback_class(args),
    ]


def _early_stopping(args: TrainingArguments, given: Sequence[Callback]) -> list[Callback]:
    """The callback that ``early_stopping_patience`` asks for, unless one was given that does as much."""
    patience = args.early_stopping_patience
    classes = [callback if isinstance(callback, type) else type(callback) for callback in given]
    names = {base.__name__ for cls in classes for base in cls.__mro__}  # transformers' own, too
    if patience is None or EarlyStoppingCallback.__name__ in names:
        return []
    return [EarlyStoppingCallback(early_stopping_patience=patience)]

"""The arguments of a run: one dataclass, composed of one for each theme."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from drivetrain.arguments.accelerator import AcceleratorConfig as AcceleratorConfig
from drivetrain.arguments.choices import DebugOption as DebugOption
from drivetrain.arguments.choices import FSDPOption as FSDPOption
from drivetrain.arguments.choices import HubStrategy as HubStrategy
from drivetrain.arguments.choices import IntervalStrategy as IntervalStrategy
from drivetrain.arguments.choices import ParallelMode as ParallelMode
from drivetrain.arguments.choices import SaveStrategy as SaveStrategy
from drivetrain.arguments.composed import ArgumentsError as ArgumentsError
from drivetrain.arguments.composed import TrainingArguments as TrainingArguments

if TYPE_CHECKING:
    from drivetrain.arguments.names import OptimizerNames as OptimizerNames
    from drivetrain.arguments.names import SchedulerType as SchedulerType
    from drivetrain.arguments.seq2seq import Seq2SeqTrainingArguments as Seq2SeqTrainingArguments

_ON_FIRST_USE = {
    "OptimizerNames": "names",
    "SchedulerType": "names",
    "Seq2SeqTrainingArguments": "seq2seq",
}
"""Names that few runs need: a dataclass of a hundred and thirty fields takes milliseconds to make."""

__all__ = [
    "AcceleratorConfig",
    "ArgumentsError",
    "DebugOption",
    "FSDPOption",
    "HubStrategy",
    "IntervalStrategy",
    "OptimizerNames",
    "ParallelMode",
    "SaveStrategy",
    "SchedulerType",
    "Seq2SeqTrainingArguments",
    "TrainingArguments",
]


if not TYPE_CHECKING:  # or every name would be taken for one that is there

    def __getattr__(name: str) -> Any:
        if name not in _ON_FIRST_USE:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f"{__name__}.{_ON_FIRST_USE[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

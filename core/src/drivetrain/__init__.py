"""A trainer for PyTorch in which every replaceable part is a plugin chosen with a string.

The names below are imported on first use: ``import drivetrain`` alone imports no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from drivetrain.arguments import ArgumentsError as ArgumentsError
    from drivetrain.arguments import IntervalStrategy as IntervalStrategy
    from drivetrain.arguments import SaveStrategy as SaveStrategy
    from drivetrain.arguments import TrainingArguments as TrainingArguments
    from drivetrain.callbacks import CallbackHandler as CallbackHandler
    from drivetrain.callbacks import DefaultFlowCallback as DefaultFlowCallback
    from drivetrain.callbacks import EarlyStoppingCallback as EarlyStoppingCallback
    from drivetrain.callbacks import PrinterCallback as PrinterCallback
    from drivetrain.callbacks import ProgressCallback as ProgressCallback
    from drivetrain.callbacks import TrainerCallback as TrainerCallback
    from drivetrain.checkpoint.random_state import set_seed as set_seed
    from drivetrain.data.collators import DataCollatorWithPadding as DataCollatorWithPadding
    from drivetrain.data.collators import default_data_collator as default_data_collator
    from drivetrain.metrics import EvalLoopOutput as EvalLoopOutput
    from drivetrain.metrics import EvalPrediction as EvalPrediction
    from drivetrain.metrics import PredictionOutput as PredictionOutput
    from drivetrain.metrics import TrainOutput as TrainOutput
    from drivetrain.state import ExportableState as ExportableState
    from drivetrain.state import TrainerControl as TrainerControl
    from drivetrain.state import TrainerState as TrainerState
    from drivetrain.trainer import Trainer as Trainer
    from drivetrain_registry import UsageError as UsageError
    from drivetrain_registry import register as register

__version__ = "0.1.0"

_HOMES = {
    "ArgumentsError": "drivetrain.arguments",
    "CallbackHandler": "drivetrain.callbacks",
    "DataCollatorWithPadding": "drivetrain.data.collators",
    "DefaultFlowCallback": "drivetrain.callbacks",
    "EarlyStoppingCallback": "drivetrain.callbacks",
    "EvalLoopOutput": "drivetrain.metrics",
    "EvalPrediction": "drivetrain.metrics",
    "ExportableState": "drivetrain.state",
    "IntervalStrategy": "drivetrain.arguments",
    "PredictionOutput": "drivetrain.metrics",
    "PrinterCallback": "drivetrain.callbacks",
    "ProgressCallback": "drivetrain.callbacks",
    "SaveStrategy": "drivetrain.arguments",
    "TrainOutput": "drivetrain.metrics",
    "Trainer": "drivetrain.trainer",
    "TrainerCallback": "drivetrain.callbacks",
    "TrainerControl": "drivetrain.state",
    "TrainerState": "drivetrain.state",
    "TrainingArguments": "drivetrain.arguments",
    "UsageError": "drivetrain_registry",
    "default_data_collator": "drivetrain.data.collators",
    "register": "drivetrain_registry",
    "set_seed": "drivetrain.checkpoint.random_state",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'drivetrain' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

"""A trainer for PyTorch in which every replaceable part is a plugin chosen with a string.

The names below are imported on first use: ``import drivetrain`` alone imports no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from drivetrain.arguments import AcceleratorConfig as AcceleratorConfig
    from drivetrain.arguments import ArgumentsError as ArgumentsError
    from drivetrain.arguments import DebugOption as DebugOption
    from drivetrain.arguments import FSDPOption as FSDPOption
    from drivetrain.arguments import HubStrategy as HubStrategy
    from drivetrain.arguments import IntervalStrategy as IntervalStrategy
    from drivetrain.arguments import OptimizerNames as OptimizerNames
    from drivetrain.arguments import ParallelMode as ParallelMode
    from drivetrain.arguments import SaveStrategy as SaveStrategy
    from drivetrain.arguments import SchedulerType as SchedulerType
    from drivetrain.arguments import Seq2SeqTrainingArguments as Seq2SeqTrainingArguments
    from drivetrain.arguments import TrainingArguments as TrainingArguments
    from drivetrain.arguments.parser import HfArg as HfArg
    from drivetrain.arguments.parser import HfArgumentParser as HfArgumentParser
    from drivetrain.callbacks import CallbackHandler as CallbackHandler
    from drivetrain.callbacks import DefaultFlowCallback as DefaultFlowCallback
    from drivetrain.callbacks import EarlyStoppingCallback as EarlyStoppingCallback
    from drivetrain.callbacks import NotebookProgressCallback as NotebookProgressCallback
    from drivetrain.callbacks import PrinterCallback as PrinterCallback
    from drivetrain.callbacks import ProgressCallback as ProgressCallback
    from drivetrain.callbacks import TrainerCallback as TrainerCallback
    from drivetrain.checkpoint.errors import CheckpointWriteError as CheckpointWriteError
    from drivetrain.checkpoint.layout import get_last_checkpoint as get_last_checkpoint
    from drivetrain.checkpoint.random_state import enable_full_determinism as enable_full_determinism
    from drivetrain.checkpoint.random_state import set_seed as set_seed
    from drivetrain.data.collators import DataCollatorWithPadding as DataCollatorWithPadding
    from drivetrain.data.collators import default_data_collator as default_data_collator
    from drivetrain.features.overflow import DebugUnderflowOverflow as DebugUnderflowOverflow
    from drivetrain.loop.interruption import PREEMPTED_EXIT_CODE as PREEMPTED_EXIT_CODE
    from drivetrain.loop.interruption import Preempted as Preempted
    from drivetrain.losses import LabelSmoother as LabelSmoother
    from drivetrain.metrics import EvalLoopOutput as EvalLoopOutput
    from drivetrain.metrics import EvalPrediction as EvalPrediction
    from drivetrain.metrics import PredictionOutput as PredictionOutput
    from drivetrain.metrics import TrainOutput as TrainOutput
    from drivetrain.metrics import speed_metrics as speed_metrics
    from drivetrain.optimization import get_scheduler as get_scheduler
    from drivetrain.plugin.image import Image as Image
    from drivetrain.search import BestRun as BestRun
    from drivetrain.search import HPSearchBackend as HPSearchBackend
    from drivetrain.search import default_compute_objective as default_compute_objective
    from drivetrain.search import default_hp_space_optuna as default_hp_space_optuna
    from drivetrain.seq2seq import Seq2SeqTrainer as Seq2SeqTrainer
    from drivetrain.state import ExportableState as ExportableState
    from drivetrain.state import TrainerControl as TrainerControl
    from drivetrain.state import TrainerState as TrainerState
    from drivetrain.trainer import Trainer as Trainer
    from drivetrain_registry import UsageError as UsageError
    from drivetrain_registry import register as register

__version__ = "0.1.0"

_HOMES = {
    "AcceleratorConfig": "drivetrain.arguments",
    "ArgumentsError": "drivetrain.arguments",
    "BestRun": "drivetrain.search",
    "CallbackHandler": "drivetrain.callbacks",
    "CheckpointWriteError": "drivetrain.checkpoint.errors",
    "DataCollatorWithPadding": "drivetrain.data.collators",
    "DebugOption": "drivetrain.arguments",
    "DebugUnderflowOverflow": "drivetrain.features.overflow",
    "DefaultFlowCallback": "drivetrain.callbacks",
    "EarlyStoppingCallback": "drivetrain.callbacks",
    "EvalLoopOutput": "drivetrain.metrics",
    "EvalPrediction": "drivetrain.metrics",
    "ExportableState": "drivetrain.state",
    "FSDPOption": "drivetrain.arguments",
    "HPSearchBackend": "drivetrain.search",
    "HfArg": "drivetrain.arguments.parser",
    "HfArgumentParser": "drivetrain.arguments.parser",
    "HubStrategy": "drivetrain.arguments",
    "Image": "drivetrain.plugin.image",
    "IntervalStrategy": "drivetrain.arguments",
    "LabelSmoother": "drivetrain.losses",
    "PREEMPTED_EXIT_CODE": "drivetrain.loop.interruption",
    "Preempted": "drivetrain.loop.interruption",
    "NotebookProgressCallback": "drivetrain.callbacks",
    "OptimizerNames": "drivetrain.arguments",
    "ParallelMode": "drivetrain.arguments",
    "PredictionOutput": "drivetrain.metrics",
    "PrinterCallback": "drivetrain.callbacks",
    "ProgressCallback": "drivetrain.callbacks",
    "SaveStrategy": "drivetrain.arguments",
    "SchedulerType": "drivetrain.arguments",
    "Seq2SeqTrainer": "drivetrain.seq2seq",
    "Seq2SeqTrainingArguments": "drivetrain.arguments",
    "TrainOutput": "drivetrain.metrics",
    "Trainer": "drivetrain.trainer",
    "TrainerCallback": "drivetrain.callbacks",
    "TrainerControl": "drivetrain.state",
    "TrainerState": "drivetrain.state",
    "TrainingArguments": "drivetrain.arguments",
    "UsageError": "drivetrain_registry",
    "default_compute_objective": "drivetrain.search",
    "default_data_collator": "drivetrain.data.collators",
    "default_hp_space_optuna": "drivetrain.search",
    "enable_full_determinism": "drivetrain.checkpoint.random_state",
    "get_last_checkpoint": "drivetrain.checkpoint.layout",
    "get_scheduler": "drivetrain.optimization",
    "register": "drivetrain_registry",
    "set_seed": "drivetrain.checkpoint.random_state",
    "speed_metrics": "drivetrain.metrics",
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

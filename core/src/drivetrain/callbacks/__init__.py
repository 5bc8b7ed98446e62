"""Callbacks: the base class, and those that come with core."""

from drivetrain.callbacks.callback import TrainerCallback as TrainerCallback
from drivetrain.callbacks.early_stopping import EarlyStoppingCallback as EarlyStoppingCallback
from drivetrain.callbacks.flow import DefaultFlowCallback as DefaultFlowCallback
from drivetrain.callbacks.handler import CallbackHandler as CallbackHandler
from drivetrain.callbacks.notebook import NotebookProgressCallback as NotebookProgressCallback
from drivetrain.callbacks.printer import PrinterCallback as PrinterCallback
from drivetrain.callbacks.progress import ProgressCallback as ProgressCallback

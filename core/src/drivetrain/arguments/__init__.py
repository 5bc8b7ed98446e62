"""The arguments of a run: one dataclass, composed of one for each theme."""

from drivetrain.arguments.accelerator import AcceleratorConfig as AcceleratorConfig
from drivetrain.arguments.choices import DebugOption as DebugOption
from drivetrain.arguments.choices import FSDPOption as FSDPOption
from drivetrain.arguments.choices import HubStrategy as HubStrategy
from drivetrain.arguments.choices import IntervalStrategy as IntervalStrategy
from drivetrain.arguments.choices import OptimizerNames as OptimizerNames
from drivetrain.arguments.choices import ParallelMode as ParallelMode
from drivetrain.arguments.choices import SaveStrategy as SaveStrategy
from drivetrain.arguments.choices import SchedulerType as SchedulerType
from drivetrain.arguments.composed import ArgumentsError as ArgumentsError
from drivetrain.arguments.composed import TrainingArguments as TrainingArguments
from drivetrain.arguments.seq2seq import Seq2SeqTrainingArguments as Seq2SeqTrainingArguments

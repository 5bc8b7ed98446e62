"""The arguments of a run: one dataclass, composed of one for each theme."""

from drivetrain.arguments.choices import IntervalStrategy as IntervalStrategy
from drivetrain.arguments.choices import SaveStrategy as SaveStrategy
from drivetrain.arguments.composed import ArgumentsError as ArgumentsError
from drivetrain.arguments.composed import TrainingArguments as TrainingArguments

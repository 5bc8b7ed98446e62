"""A script's dataclasses, `TrainingArguments` among them, made from its command line or a file."""

from drivetrain.arguments.parser.flags import HfArg as HfArg
from drivetrain.arguments.parser.parser import HfArgumentParser as HfArgumentParser

"""`TrainingArguments`: the themes put together, completed and checked."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import socket
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from functools import cached_property
from typing import TYPE_CHECKING, Any

from drivetrain.arguments.checkpointing import CheckpointArguments
from drivetrain.arguments.checks import find_problems, find_warnings
from drivetrain.arguments.choices import IntervalStrategy, SaveStrategy
from drivetrain.arguments.data import DataArguments
from drivetrain.arguments.devices import DeviceArguments
from drivetrain.arguments.evaluation import EvaluationArguments
from drivetrain.arguments.logging import LoggingArguments
from drivetrain.arguments.optimization import OptimizationArguments
from drivetrain.arguments.training import RunArguments
from drivetrain.parts import check_parts, load_strategy
from drivetrain_registry import UsageError

if TYPE_CHECKING:
    import torch

    from drivetrain.plugin.strategy import StrategyPlugin

logger = logging.getLogger(__name__)


class ArgumentsError(UsageError):
    """Arguments that cannot work, every problem with them in one message.

    Attributes:
        problems: One message for each.
    """

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        if len(problems) == 1:
            super().__init__(problems[0])
        else:
            listed = "\n".join(f"{number}. {text}" for number, text in enumerate(problems, 1))
            super().__init__(f"{len(problems)} problems with the arguments:\n{listed}")

    def __reduce__(self) -> tuple[type[ArgumentsError], tuple[list[str]]]:
        return type(self), (self.problems,)


@dataclass
class TrainingArguments(
    DeviceArguments,
    CheckpointArguments,
    EvaluationArguments,
    LoggingArguments,
    DataArguments,
    OptimizationArguments,
    RunArguments,
):
    """Everything that a run can be told, with the published names, defaults and meaning.

    Each theme has its fields in a file of its own in this package. All values, and every part that
    they name, are checked when an instance is made.

    Raises:
        drivetrain_registry.RegistryError: The one problem is a name that leads to no usable part.
        drivetrain.plugin.OptionsError: The one problem is with a part's options.
        ArgumentsError: There are other problems, or several; the message lists them all.

    Example:
        >>> args = TrainingArguments("runs/gpt", optim="muon", lr_scheduler_type="cosine")
    """

    def __post_init__(self) -> None:
        self._complete()
        problems: list[str | Exception] = list(find_problems(self))
        parts = check_parts(self, ask=not problems)
        problems.extend(parts.errors)
        if len(problems) == 1 and isinstance(problems[0], Exception):
            raise problems[0]
        if problems:
            raise ArgumentsError([str(problem) for problem in problems])
        for warning in [*find_warnings(self), *parts.warnings]:
            logger.warning(warning)

    def _complete(self) -> None:
        """Fill in the defaults that depend on other arguments, and make choices of their texts."""
        self.plugins = [self.plugins] if isinstance(self.plugins, str) else list(self.plugins or [])
        self.output_dir = os.path.expanduser(self.output_dir or "trainer_output")
        self.eval_strategy = _as_choice(IntervalStrategy, self.eval_strategy)
        self.logging_strategy = _as_choice(IntervalStrategy, self.logging_strategy)
        self.save_strategy = _as_choice(SaveStrategy, self.save_strategy)
        for name in ("optim", "lr_scheduler_type", "precision", "strategy"):
            value = getattr(self, name)
            if isinstance(value, Enum):
                setattr(self, name, value.value)
        if self.eval_strategy == IntervalStrategy.STEPS and self.eval_steps is None:
            self.eval_steps = self.logging_steps
        if self.logging_dir is None:
            now = datetime.now().strftime("%b%d_%H-%M-%S")
            self.logging_dir = os.path.join(self.output_dir, "runs", f"{now}_{socket.gethostname()}")
        if self.run_name is None:
            self.run_name = self.output_dir
        if self.disable_tqdm is None:
            self.disable_tqdm = logger.getEffectiveLevel() > logging.WARNING
        if self.metric_for_best_model is None and self._compares_models():
            self.metric_for_best_model = "loss"
        if self.greater_is_better is None and self.metric_for_best_model is not None:
            self.greater_is_better = not self.metric_for_best_model.endswith("loss")

    def _compares_models(self) -> bool:
        return (
            self.load_best_model_at_end
            or self.save_strategy == SaveStrategy.BEST
            or self.lr_scheduler_type == "reduce_lr_on_plateau"
        )

    # -- parts and devices ------------------------------------------------------------------------

    @cached_property
    def strategy_plugin(self) -> StrategyPlugin:
        """The strategy, made on first use: it is the one part that outlives a trainer."""
        return load_strategy(self)

    @property
    def device(self) -> torch.device:
        """The device of this process."""
        return self.strategy_plugin.device

    @property
    def n_gpu(self) -> int:
        """GPUs that this process drives: 1, or 0 on the CPU."""
        return int(self.device.type != "cpu")

    @property
    def world_size(self) -> int:
        """Processes that take part."""
        return self.strategy_plugin.world_size

    @property
    def process_index(self) -> int:
        """This process among all, from 0."""
        return self.strategy_plugin.rank

    @property
    def local_process_index(self) -> int:
        """This process among those on its machine, from 0."""
        return self.strategy_plugin.local_rank

    @property
    def should_log(self) -> bool:
        """Whether this process shows logs."""
        return self.process_index == 0

    @property
    def should_save(self) -> bool:
        """Whether this process writes to disk."""
        return self.process_index == 0

    # -- derived values ---------------------------------------------------------------------------

    @property
    def train_batch_size(self) -> int:
        """Samples in a training micro-batch of this process."""
        return self.per_device_train_batch_size

    @property
    def eval_batch_size(self) -> int:
        """Samples in an evaluation batch of this process."""
        return self.per_device_eval_batch_size

    @property
    def reporter_names(self) -> list[str]:
        """`report_to` as a list; empty for 'none' and None."""
        named = [self.report_to] if isinstance(self.report_to, str) else list(self.report_to or [])
        return [] if named == ["none"] else named

    def is_default(self, name: str) -> bool:
        """Whether an argument has the value that it has if it is left out."""
        field = next((field for field in dataclasses.fields(self) if field.name == name), None)
        if field is None:
            raise AttributeError(f"{name!r} is no argument")
        if field.default_factory is not dataclasses.MISSING:
            return bool(getattr(self, name) == field.default_factory())
        return bool(getattr(self, name) == field.default)

    # -- as data ----------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """The arguments as JSON values: enums by value."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: _as_json(value) for name, value in values.items()}

    def to_json_string(self) -> str:
        """The arguments as a JSON object, indented."""
        return json.dumps(self.to_dict(), indent=2)

    def to_sanitized_dict(self) -> dict[str, bool | int | float | str]:
        """The arguments as what hyper-parameter tables take: numbers, booleans and texts."""
        return {
            name: value if isinstance(value, (bool, int, float, str)) else str(value)
            for name, value in self.to_dict().items()
        }

    def __getstate__(self) -> dict[str, Any]:
        """The strategy belongs to its process: it is made again where the arguments arrive."""
        return {name: value for name, value in vars(self).items() if name != "strategy_plugin"}


def _as_choice(choice: type[Enum], value: Any) -> Any:
    """The member with that value; the value itself where there is none, for the checks to report."""
    try:
        return choice(value)
    except ValueError:
        return value


def _as_json(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, dict):
        return {str(key): _as_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_as_json(item) for item in value]
    return value if isinstance(value, (bool, int, float, str, type(None))) else str(value)

"""`TrainingArguments`: the themes put together, completed and checked."""

from __future__ import annotations

import dataclasses
import inspect
import json
import logging
from abc import ABCMeta
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar

from drivetrain.arguments.checkpointing import CheckpointArguments
from drivetrain.arguments.checks import find_problems
from drivetrain.arguments.completion import COMPLETED_DEFAULTS, complete
from drivetrain.arguments.data import DataArguments
from drivetrain.arguments.devices import DeviceArguments
from drivetrain.arguments.distributed import DistributedArguments
from drivetrain.arguments.evaluation import EvaluationArguments
from drivetrain.arguments.hub import HubArguments
from drivetrain.arguments.idle import find_idle
from drivetrain.arguments.logging import LoggingArguments
from drivetrain.arguments.model import ModelTreatmentArguments
from drivetrain.arguments.optimization import OptimizationArguments
from drivetrain.arguments.precision import PrecisionArguments
from drivetrain.arguments.processes import Processes
from drivetrain.arguments.search import SearchArguments
from drivetrain.arguments.setters import Setters
from drivetrain.arguments.spellings import OLD_SPELLINGS, translate
from drivetrain.arguments.training import RunArguments
from drivetrain.parts import check_parts
from drivetrain_registry import UsageError
from drivetrain_registry.messages import find_near, join

if TYPE_CHECKING:
    from typing_extensions import Self

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


class ArgumentsType(ABCMeta):
    """The type of classes of arguments: takes old spellings to those of today before one is made."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        """Make arguments from keywords, old spellings among them."""
        names = [field.name for field in dataclasses.fields(cls) if field.init]  # type: ignore[arg-type]
        current, warnings, problems = translate(kwargs, dict(zip(names, args, strict=False)), names)
        current, unknown = _refuse_unknown(cls, current)
        problems.extend(unknown)
        instance: Any = object.__new__(cls)  # type: ignore[arg-type]  # mypy takes it for the metaclass
        instance._said_of_spellings = (warnings, problems)
        try:
            instance.__init__(*args, **current)
        finally:
            del instance._said_of_spellings
        return instance


def _refuse_unknown(cls: type, given: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The keywords that a class takes, and a message for each other one."""
    parameters = inspect.signature(cls.__init__).parameters  # type: ignore[misc]
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return given, []
    problems = []
    for name in given:
        if name not in parameters:
            near = find_near(name, set(parameters) - {"self"})
            hint = f"Did you mean {join(map(repr, near), 'or')}? " if near else ""
            problems.append(
                f"`{name}`: there is no such argument of {cls.__name__}. {hint}docs/arguments.md lists them."
            )
    return {name: value for name, value in given.items() if name in parameters}, problems


@dataclass
class TrainingArguments(
    SearchArguments,
    HubArguments,
    ModelTreatmentArguments,
    DistributedArguments,
    DeviceArguments,
    PrecisionArguments,
    CheckpointArguments,
    EvaluationArguments,
    LoggingArguments,
    DataArguments,
    OptimizationArguments,
    RunArguments,
    Processes,
    Setters,
    metaclass=ArgumentsType,
):
    """Everything that a run can be told, with the published names, defaults and meaning.

    Each theme has its fields in a file of its own in this package, as a dataclass without generated
    methods: to make those for each would take longer than all else when the arguments are imported. All
    values, and every part that they name, are checked when an instance is made. Older spellings
    (`OLD_SPELLINGS`) are taken as keywords, and what they are called today is said.

    Raises:
        drivetrain_registry.RegistryError: The one problem is a name that leads to no usable part.
        drivetrain.plugin.OptionsError: The one problem is with a part's options.
        ArgumentsError: There are other problems, or several; the message lists them all.

    Example:
        >>> args = TrainingArguments("runs/gpt", optim="muon", lr_scheduler_type="cosine")
    """

    old_spellings: ClassVar[Mapping[str, Any]] = {
        name: spelling.hint for name, spelling in OLD_SPELLINGS.items()
    }

    def __post_init__(self) -> None:
        warnings, problems = getattr(self, "_said_of_spellings", ([], []))
        for warning in warnings:
            logger.warning(warning)
        self._said: list[str] = []
        self._say(self.check(problems))

    def check(self, problems: Sequence[str] = ()) -> list[str]:
        """Complete the arguments, check them, and check every part that they name.

        Args:
            problems: What is known to be wrong already.

        Returns:
            What works otherwise than one may expect.

        Raises:
            UsageError: Something cannot work; see the class.
        """
        found: list[str | Exception] = [*problems, *complete(self), *find_problems(self)]
        parts = check_parts(self, ask=not found)
        found.extend(parts.errors)
        if len(found) == 1 and isinstance(found[0], Exception):
            raise found[0]
        if found:
            raise ArgumentsError([str(problem) for problem in found])
        return [*find_idle(self), *parts.warnings]

    def update(self, **values: Any) -> Self:
        """Set arguments by name, and check them all; they are as they were if they cannot work."""
        before = dict(vars(self))
        try:
            for name, value in values.items():
                setattr(self, name, value)
            warnings = self.check()
        except BaseException:
            vars(self).clear()
            vars(self).update(before)
            raise
        self._say(warnings)
        return self

    def _say(self, warnings: list[str]) -> None:
        """Warn of what was not there the last time."""
        for warning in warnings:
            if warning not in self._said:
                logger.warning(warning)
        self._said = warnings

    def __getattr__(self, name: str) -> Any:
        """Old spellings can be read, too."""
        if name in OLD_SPELLINGS:
            return OLD_SPELLINGS[name].read(self)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

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
        if name in COMPLETED_DEFAULTS:
            return bool(getattr(self, name) in (COMPLETED_DEFAULTS[name], field.default))
        if field.default_factory is not dataclasses.MISSING:
            return bool(getattr(self, name) == field.default_factory())
        return bool(getattr(self, name) == field.default)

    # -- as data ----------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """The arguments as JSON values: enums by value, tokens by name."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {
            name: f"<{name.upper()}>" if name.endswith("_token") and value else _as_json(value)
            for name, value in values.items()
        }

    def to_json_string(self) -> str:
        """The arguments as a JSON object, indented."""
        return json.dumps(self.to_dict(), indent=2)

    def to_sanitized_dict(self) -> dict[str, bool | int | float | str]:
        """The arguments as what hyper-parameter tables take: numbers, booleans and texts."""
        return {
            name: value if isinstance(value, (bool, int, float, str)) else str(value)
            for name, value in self.to_dict().items()
        }


def _as_json(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if hasattr(value, "to_dict"):
        return _as_json(value.to_dict())
    if isinstance(value, dict):
        return {str(key): _as_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_as_json(item) for item in value]
    return value if isinstance(value, (bool, int, float, str, type(None))) else str(value)

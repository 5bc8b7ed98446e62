"""Where a run is (`TrainerState`) and what it should do next (`TrainerControl`)."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn, TypeGuard

from drivetrain_registry import UsageError

if TYPE_CHECKING:
    from os import PathLike

    from drivetrain.arguments import TrainingArguments


class ExportableState:
    """Mixed into a callback (or another object) whose state is kept in checkpoints."""

    def state(self) -> dict[str, Any]:
        """What to keep, as JSON values.

        Returns:
            ``{"args": arguments of the constructor, "attributes": what to set afterwards}``.
        """
        raise NotImplementedError(f"{type(self).__name__} is exportable and has no `state` method.")

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> ExportableState:
        """Make an instance from what `state` gave."""
        instance = cls(**state["args"])
        for name, value in state["attributes"].items():
            setattr(instance, name, value)
        return instance


def is_exportable(thing: object) -> TypeGuard[ExportableState]:
    """Whether an object's state can be kept and taken up again, `ExportableState` or another library's."""
    return callable(getattr(thing, "state", None)) and callable(getattr(type(thing), "from_state", None))


@dataclass
class TrainerControl(ExportableState):
    """Switches that callbacks and plugins set and the loop reads.

    Attributes:
        should_training_stop: End training after this update.
        should_epoch_stop: Go on with the next epoch. Reset when an epoch begins.
        should_save: Save a checkpoint. Reset when an update begins.
        should_evaluate: Evaluate. Reset when an update begins.
        should_log: Log. Reset when an update begins.
    """

    should_training_stop: bool = False
    should_epoch_stop: bool = False
    should_save: bool = False
    should_evaluate: bool = False
    should_log: bool = False

    def state(self) -> dict[str, Any]:
        """The switches, as a checkpoint keeps them."""
        return {"args": dataclasses.asdict(self), "attributes": {}}

    def update(self, switches: dict[str, Any], source: str) -> None:
        """Set switches from what a callback returned: ``{"should_training_stop": True}``.

        Raises:
            UsageError: A key is no switch.
        """
        known = [member.name for member in dataclasses.fields(self)]
        for name, value in switches.items():
            if name not in known:
                raise UsageError(
                    f"{source} returned {{{name!r}: {value!r}}}, which is no switch of the control. "
                    f"Switches: {', '.join(known)}."
                )
            setattr(self, name, bool(value))


@dataclass
class TrainerState:
    """Where a run is. Saved in each checkpoint as ``trainer_state.json`` with the published fields.

    Attributes:
        epoch: Passes over the data that are done, the current one as a fraction.
        global_step: Updates that are done.
        max_steps: Updates of the whole run.
        logging_steps: Updates between logs, as a number of updates even if given as a share.
        eval_steps: The same for evaluations.
        save_steps: The same for checkpoints.
        train_batch_size: Samples in a micro-batch of one process.
        num_train_epochs: Passes over the data of the whole run.
        num_input_tokens_seen: Input tokens trained on, if they are counted.
        total_flos: Floating-point operations done by the model, if it says how many.
        log_history: Everything that was logged, in order.
        best_metric: The best value yet of ``metric_for_best_model``.
        best_global_step: The update after which it was measured.
        best_model_checkpoint: The checkpoint of that update.
        is_local_process_zero: Whether this is the first process on its machine.
        is_world_process_zero: Whether this is the first process of all.
        is_hyper_param_search: Whether the run is a trial of a search.
        trial_name: The name of that trial.
        trial_params: The parameters of that trial.
        stateful_callbacks: States of callbacks that are `ExportableState`, by class name.
    """

    epoch: float = 0.0
    global_step: int = 0
    max_steps: int = 0
    logging_steps: int = 500
    eval_steps: int = 500
    save_steps: int = 500
    train_batch_size: int | None = None
    num_train_epochs: int = 0
    num_input_tokens_seen: int = 0
    total_flos: float = 0
    log_history: list[dict[str, Any]] = field(default_factory=list)
    best_metric: float | None = None
    best_global_step: int | None = None
    best_model_checkpoint: str | None = None
    is_local_process_zero: bool = True
    is_world_process_zero: bool = True
    is_hyper_param_search: bool = False
    trial_name: str | None = None
    trial_params: dict[str, Any] | None = None
    stateful_callbacks: dict[str, Any] = field(default_factory=dict)

    def compute_steps(self, args: TrainingArguments, max_steps: int) -> None:
        """Turn the intervals of the arguments into numbers of updates."""
        for interval in ("logging_steps", "eval_steps", "save_steps"):
            value = getattr(args, interval)
            if value is not None:
                updates = math.ceil(max_steps * value) if value < 1 else int(value)
                setattr(self, interval, updates)

    def collect_states(self, holders: Iterable[object]) -> None:
        """Take up the state of every exportable one among ``holders``; several of a class as a list.

        Raises:
            UsageError: A state has something in it that could not be taken up again from JSON.
        """
        collected: dict[str, list[Any]] = {}
        for holder in holders:
            if is_exportable(holder):
                name = type(holder).__name__
                state = as_json(holder.state(), functools.partial(_refuse, name))
                collected.setdefault(name, []).append(state)
        self.stateful_callbacks = {
            name: states[0] if len(states) == 1 else states for name, states in collected.items()
        }

    def to_json(self) -> str:
        """The state as ``trainer_state.json`` has it; see `as_json`."""
        values = {member.name: getattr(self, member.name) for member in dataclasses.fields(self)}
        return json.dumps(as_json(values), indent=2, sort_keys=True) + "\n"

    def save_to_json(self, json_path: str | PathLike[str]) -> None:
        """Write the state to a file."""
        with open(json_path, "w", encoding="utf-8") as file:
            file.write(self.to_json())

    @classmethod
    def load_from_json(cls, json_path: str | PathLike[str]) -> TrainerState:
        """Read a state that this trainer or transformers' has written; fields unknown here are left out."""
        with open(json_path, encoding="utf-8") as file:
            values = json.load(file)
        known = {member.name for member in dataclasses.fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in known})


def as_json(value: Any, convert: Callable[[Any], Any] = str) -> Any:
    """A value as JSON can hold it: numbers as numbers, tensors and arrays as (lists of) numbers.

    Args:
        value: The value, and what is in it.
        convert: Makes a JSON value of what is none of these; by default its text.
    """
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    if isinstance(value, Mapping):
        return {_as_key(key): as_json(item, convert) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_json(item, convert) for item in value]
    numbers = _as_numbers(value)
    return convert(value) if numbers is None else as_json(numbers, convert)


def _as_numbers(value: Any) -> Any:
    """Python's numbers out of a tensor, an array or a fraction; None if there are none."""
    try:
        if hasattr(value, "tolist"):
            return value.tolist()
        return float(value) if hasattr(value, "__float__") else None
    except (TypeError, ValueError, ArithmeticError, RuntimeError):  # a tensor without values, say
        return None


def _as_key(key: Any) -> str:
    """A key as text; those that JSON knows as it writes them."""
    if isinstance(key, str):
        return key
    return json.dumps(key) if key is None or isinstance(key, (bool, int, float)) else str(key)


def _refuse(name: str, value: Any) -> NoReturn:
    raise UsageError(
        f"`{name}.state()` has a {type(value).__name__} in it, which a checkpoint cannot keep. Give "
        "numbers, texts, lists and dicts, and set what else there is in `from_state`."
    )

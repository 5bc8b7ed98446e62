"""Where a run is (`TrainerState`) and what it should do next (`TrainerControl`)."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

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
        """Take up the state of every `ExportableState` among ``holders``; several of a class as a list."""
        collected: dict[str, list[Any]] = {}
        for holder in holders:
            if isinstance(holder, ExportableState):
                collected.setdefault(type(holder).__name__, []).append(holder.state())
        self.stateful_callbacks = {
            name: states[0] if len(states) == 1 else states for name, states in collected.items()
        }

    def to_json(self) -> str:
        """The state as ``trainer_state.json`` has it."""
        return json.dumps(dataclasses.asdict(self), indent=2, sort_keys=True) + "\n"

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

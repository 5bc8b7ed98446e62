"""Taking up a run: reading what its checkpoint has into a trainer."""

from __future__ import annotations

import json
import logging
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from drivetrain.checkpoint import layout
from drivetrain.checkpoint.changes import find_changes
from drivetrain.checkpoint.contents import run_facts
from drivetrain.checkpoint.manifest import is_superseded
from drivetrain.checkpoint.sharded import (
    load_sharded_model,
    load_sharded_optimizer,
    load_sharded_training_weights,
)
from drivetrain.checkpoint.tensors import load_tensors, load_weights
from drivetrain.parallel_wrappers import unwrap
from drivetrain.state import TrainerState
from drivetrain_registry import UsageError

if TYPE_CHECKING:
    from drivetrain.arguments import TrainingArguments
    from drivetrain.trainer import Trainer

logger = logging.getLogger(__name__)


def read_model(model: nn.Module, checkpoint: Path, is_mapped: bool = True) -> None:
    """Read the model's weights from a checkpoint; see `load_weights`."""
    if (checkpoint / layout.SHARDS).is_dir():
        load_sharded_model(model, checkpoint)
    else:
        load_weights(model, checkpoint, is_mapped)


def read_state(checkpoint: Path) -> TrainerState:
    """Read where the run was when the checkpoint was saved."""
    if not (checkpoint / layout.STATE).is_file():
        return TrainerState()
    state = TrainerState.load_from_json(checkpoint / layout.STATE)
    if state.best_model_checkpoint is not None and not Path(state.best_model_checkpoint).is_dir():
        beside = checkpoint.parent / Path(state.best_model_checkpoint).name
        found = beside if beside.is_dir() else None
        if found is None:
            logger.warning("The best checkpoint, %s, is gone.", state.best_model_checkpoint)
        state.best_model_checkpoint = str(found) if found else None
    return state


def has_optimizer_state(checkpoint: Path) -> bool:
    """Whether a checkpoint holds the optimizer's state, in a file or in parts."""
    if (checkpoint / layout.SHARDS).is_dir():
        return "optimizer" in _read_json(checkpoint / layout.MANIFEST).get("contents", ("optimizer",))
    return (checkpoint / layout.OPTIMIZER).is_file()


def read_optimization(trainer: Trainer, checkpoint: Path) -> None:
    """Read the state of optimizer, schedule, precision and of parts that keep something of their own.

    What a checkpoint lacks (see ``allow_partial_resume``) starts afresh; a schedule is moved to the update.

    Raises:
        UsageError: It belongs to another optimizer, schedule or model.
    """
    if not has_optimizer_state(checkpoint):
        logger.info("The optimizer starts afresh.")
    elif (checkpoint / layout.SHARDS).is_dir():
        trainer.evaluation_weights.put_to_training()  # an update of nothing is made, for the state's shapes
        load_sharded_optimizer(trainer.model, trainer.optimizer, checkpoint)
        trainer.evaluation_weights.forget()
        _read_sharded_training_weights(trainer, checkpoint)
    else:
        _load_state(trainer.optimizer, checkpoint / layout.OPTIMIZER, "optimizer")
        if (checkpoint / layout.TRAINING_WEIGHTS).is_file() and not is_superseded(checkpoint):
            trainer.evaluation_weights.take_up(load_tensors(checkpoint / layout.TRAINING_WEIGHTS))
    if all((checkpoint / name).is_file() for name in (layout.SCHEDULER, layout.STATE)):
        _load_state(trainer.lr_scheduler, checkpoint / layout.SCHEDULER, "schedule")
    elif not trainer.schedule_waits_for_metrics:
        _move_schedule(trainer.lr_scheduler, trainer.state.global_step)
    if (checkpoint / layout.SCALER).is_file():
        trainer.precision.load_state_dict(load_tensors(checkpoint / layout.SCALER))
    trainer.hooks.call("read_checkpoint", folder=checkpoint)


def _read_sharded_training_weights(trainer: Trainer, checkpoint: Path) -> None:
    if "training_weights" in _read_json(checkpoint / layout.MANIFEST).get("contents", ()):
        weights = trainer.evaluation_weights.templates()
        load_sharded_training_weights(weights, checkpoint)
        trainer.evaluation_weights.take_up(weights)


def read_gradients(trainer: Trainer, checkpoint: Path) -> None:
    """Read gradients that waited for more micro-batches of their update when the checkpoint was saved."""
    if not (checkpoint / layout.GRADIENTS).is_file() or is_superseded(checkpoint):
        return
    gradients = load_tensors(checkpoint / layout.GRADIENTS)
    for name, parameter in unwrap(trainer.model).named_parameters():
        if name in gradients:
            parameter.grad = gradients[name].to(parameter.device)


def read_position(checkpoint: Path, args: TrainingArguments) -> Any:
    """Read where this process was in data that keeps that itself; None if it does not."""
    file = checkpoint / layout.position_name(args.process_index, args.world_size)
    return load_tensors(file) if file.is_file() and not is_superseded(checkpoint) else None


def _move_schedule(schedule: Any, num_updates: int) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", "Detected call of `lr_scheduler.step"
        )  # there was no update yet
        for _ in range(num_updates):
            schedule.step()


def report_changes(trainer: Trainer, checkpoint: Path) -> None:
    """Say what changed since the checkpoint was saved.

    Raises:
        UsageError: The run cannot go on with what changed.
    """
    saved = _saved_facts(checkpoint)
    now = {**trainer.args.to_dict(), **run_facts(trainer)}
    errors, warnings_ = find_changes(saved, now)
    if errors:
        raise UsageError("\n".join(errors))
    for text in warnings_:
        logger.warning("%s", text)


def _saved_facts(checkpoint: Path) -> dict[str, Any]:
    """Arguments and facts of the run that saved a checkpoint, as far as it says them."""
    if is_superseded(checkpoint):
        return {}
    arguments = _read_json(checkpoint / layout.ARGUMENTS)
    manifest = _read_json(checkpoint / layout.MANIFEST)
    version_1 = {
        **{name: manifest[name] for name in ("classes", "world_size") if name in manifest},
        **{
            name: value
            for name, value in manifest.get("parts", {}).items()
            if name in ("precision", "strategy")
        },
    }
    return {**arguments, **manifest.get("run", version_1)}


def _read_json(file: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return content


def _load_state(part: Any, file: Path, what: str) -> None:
    state = load_tensors(file)
    try:
        part.load_state_dict(state)
    except UsageError:  # it says itself what to do
        raise
    except (KeyError, ValueError, RuntimeError, TypeError) as error:
        raise UsageError(
            f"`resume_from_checkpoint`: the state of the {what} in {file} does not fit "
            f"{type(part).__name__}: {error}. Resume with the arguments, and with the trained parameters, "
            "that it was saved with."
        ) from error

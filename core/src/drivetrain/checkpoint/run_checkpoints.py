"""What a run's checkpoint consists of: writing and reading it for a trainer."""

from __future__ import annotations

import json
import logging
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

import drivetrain
from drivetrain.checkpoint import layout
from drivetrain.checkpoint.random_state import capture_random_state
from drivetrain.checkpoint.rotation import rotate
from drivetrain.checkpoint.tensors import load_tensors, load_weights, save_tensors, save_weights
from drivetrain.checkpoint.writing import delete, stage
from drivetrain.signatures import accepted, names_parameter
from drivetrain.state import TrainerState
from drivetrain_registry import UsageError

if TYPE_CHECKING:
    from drivetrain.trainer import Trainer

logger = logging.getLogger(__name__)


def write(trainer: Trainer) -> Path:
    """Write a checkpoint of the trainer's current update, then delete those beyond the limit."""
    args, state = trainer.args, trainer.state
    output_dir = Path(args.output_dir)
    target = output_dir / layout.checkpoint_name(state.global_step)
    _find_best(state, output_dir, target)
    with stage(target, _facts(trainer)) as folder:
        trainer.save_model(str(folder), **accepted(trainer.save_model, _internal_call=True))
        if not args.save_only_model:
            _write_optimization(trainer, folder)
        trainer.hooks.call("write_checkpoint", folder=folder)
        state.collect_states(trainer.stateful_callbacks())
        state.save_to_json(folder / layout.STATE)
    _overwrite(trainer, target)
    rotate(output_dir, args.save_total_limit, state.best_model_checkpoint, newest=target)
    return target


def _overwrite(trainer: Trainer, newest: Path) -> None:
    """Delete checkpoints of earlier runs, now that this run has one of its own."""
    for checkpoint in trainer.overwritten_checkpoints:
        if checkpoint != newest and checkpoint.is_dir():
            logger.info("Deleting %s of an earlier run, for `overwrite_output_dir` is True.", checkpoint)
            delete(checkpoint)
    trainer.overwritten_checkpoints = []


def write_model(trainer: Trainer, folder: Path, state_dict: Any = None) -> None:
    """Write the model, what processes its data, and the arguments, to a folder.

    Args:
        trainer: The trainer.
        folder: Where to.
        state_dict: Weights by name instead of the model's own.
    """
    folder.mkdir(parents=True, exist_ok=True)
    is_safe = trainer.args.save_safetensors
    save_pretrained = getattr(trainer.model, "save_pretrained", None)
    if callable(save_pretrained) and (is_safe or names_parameter(save_pretrained, "safe_serialization")):
        options = {} if state_dict is None else {"state_dict": state_dict}
        if not is_safe:
            options["safe_serialization"] = False
        save_pretrained(str(folder), **options)
    elif is_safe:
        save_weights(trainer.model, folder, state_dict)
    else:
        _write_configuration(trainer.model, folder)
        save_tensors(
            trainer.model.state_dict() if state_dict is None else state_dict,
            folder / layout.MODEL_PICKLED,
        )
    processing = trainer.processing_class
    if processing is None:
        processing = getattr(trainer.data_collator, "tokenizer", None)
    if callable(getattr(processing, "save_pretrained", None)):
        processing.save_pretrained(str(folder))
    (folder / layout.ARGUMENTS).write_text(trainer.args.to_json_string() + "\n", encoding="utf-8")


def _write_configuration(model: Any, folder: Path) -> None:
    """What a transformers model needs besides its weights to be loaded again."""
    for part in ("config", "generation_config"):
        save = getattr(getattr(model, part, None), "save_pretrained", None)
        if callable(save):
            save(str(folder))


def read_model(model: nn.Module, checkpoint: Path, is_mapped: bool = True) -> None:
    """Read the model's weights from a checkpoint; see `load_weights`."""
    load_weights(model, checkpoint, is_mapped)


def read_state(checkpoint: Path) -> TrainerState:
    """Read where the run was when the checkpoint was saved."""
    state = TrainerState.load_from_json(checkpoint / layout.STATE)
    if state.best_model_checkpoint is not None and not Path(state.best_model_checkpoint).is_dir():
        beside = checkpoint.parent / Path(state.best_model_checkpoint).name
        found = beside if beside.is_dir() else None
        if found is None:
            logger.warning("The best checkpoint, %s, is gone.", state.best_model_checkpoint)
        state.best_model_checkpoint = str(found) if found else None
    return state


def read_optimization(trainer: Trainer, checkpoint: Path) -> None:
    """Read the state of optimizer, schedule, precision and of parts that keep something of their own.

    Raises:
        UsageError: It belongs to another optimizer, schedule or model.
    """
    _compare_parts(trainer, checkpoint)
    _load_state(trainer.optimizer, checkpoint / layout.OPTIMIZER, "optimizer")
    _load_state(trainer.lr_scheduler, checkpoint / layout.SCHEDULER, "schedule")
    if (checkpoint / layout.SCALER).is_file():
        trainer.precision.load_state_dict(load_tensors(checkpoint / layout.SCALER))
    trainer.hooks.call("read_checkpoint", folder=checkpoint)


def _compare_parts(trainer: Trainer, checkpoint: Path) -> None:
    """Compare what the checkpoint was saved with, as its manifest says, with what goes on from it."""
    if not (checkpoint / layout.MANIFEST).is_file():
        return
    saved = json.loads((checkpoint / layout.MANIFEST).read_text(encoding="utf-8"))
    current = _facts(trainer)
    for part, option in (("optimizer", "optim"), ("scheduler", "lr_scheduler_type")):
        before, now = saved["parts"].get(option), current["parts"][option]
        class_before, class_now = saved.get("classes", {}).get(part), current["classes"][part]
        if class_before not in (None, class_now):
            raise UsageError(
                f"`{option}`: {checkpoint} was saved with {before!r} ({class_before}), whose state {now!r} "
                f"({class_now}) cannot take over. Type {option}={before!r}, or start anew."
            )
        if before != now:
            logger.warning("`%s`: %r goes on where %r was, in %s.", option, now, before, checkpoint)


def _load_state(part: Any, file: Path, what: str) -> None:
    state = load_tensors(file)
    try:
        part.load_state_dict(state)
    except (KeyError, ValueError, RuntimeError, TypeError) as error:
        raise UsageError(
            f"`resume_from_checkpoint`: the state of the {what} in {file} does not fit "
            f"{type(part).__name__}: {error}. Resume with the arguments, and with the trained parameters, "
            "that it was saved with."
        ) from error


def _write_optimization(trainer: Trainer, folder: Path) -> None:
    args = trainer.args
    save_tensors(trainer.optimizer.state_dict(), folder / layout.OPTIMIZER)
    save_tensors(trainer.lr_scheduler.state_dict(), folder / layout.SCHEDULER)
    scaler = trainer.precision.state_dict()
    if scaler:
        save_tensors(scaler, folder / layout.SCALER)
    name = layout.random_state_name(args.process_index, args.world_size)
    save_tensors(capture_random_state(), folder / name)


def _find_best(state: TrainerState, output_dir: Path, target: Path) -> None:
    """Note the checkpoint of the best update, if it is this one or an earlier one that is there."""
    if state.best_global_step is None:
        return
    best = output_dir / layout.checkpoint_name(state.best_global_step)
    if best == target or best.is_dir():
        state.best_model_checkpoint = str(best)


def _facts(trainer: Trainer) -> dict[str, Any]:
    return {
        "step": trainer.state.global_step,
        "world_size": trainer.args.world_size,
        "versions": {
            "drivetrain": drivetrain.__version__,
            "torch": str(torch.__version__),
            "python": platform.python_version(),
        },
        "classes": {
            "optimizer": type(trainer.optimizer).__name__,
            "scheduler": type(trainer.lr_scheduler).__name__,
        },
        "parts": {
            "optim": trainer.args.optim,
            "lr_scheduler_type": trainer.args.lr_scheduler_type,
            "precision": trainer.precision.name,
            "strategy": trainer.strategy.name,
        },
    }

"""What a run's checkpoint consists of: writing it for a trainer."""

from __future__ import annotations

import platform
from collections.abc import Callable, Collection, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

import drivetrain
from drivetrain.checkpoint import layout
from drivetrain.checkpoint.random_state import capture_random_state
from drivetrain.checkpoint.sharded import is_sharded, save_sharded
from drivetrain.checkpoint.snapshot import HostCopies
from drivetrain.checkpoint.tensors import save_tensors, save_weights
from drivetrain.data.loaders import num_samples_of
from drivetrain.loop.going_on import data_position_of, progress_of, random_states_of
from drivetrain.parallel_wrappers import unwrap
from drivetrain.signatures import accepted, is_overridden, names_parameter
from drivetrain.state import TrainerState
from drivetrain_registry import UsageError

if TYPE_CHECKING:
    from drivetrain.trainer import Trainer

_WRITTEN_HERE = (
    layout.MODEL,
    layout.OPTIMIZER,
    layout.SCHEDULER,
    layout.SCALER,
    layout.GRADIENTS,
    layout.TRAINING_WEIGHTS,
    layout.STATE,
    layout.PROGRESS,
    layout.ARGUMENTS,
    layout.MANIFEST,
)


def collect(trainer: Trainer, folder: Path, copies: HostCopies | None) -> list[Callable[[], None]]:
    """Write what is this process's own, and return what writes the rest of a checkpoint, in order.

    Args:
        trainer: The trainer.
        folder: The checkpoint that is being written.
        copies: Where to copy tensors to, for the rest to be written while training goes on. What
            may not be touched from a thread is written at once then. None: nothing is copied.

    Returns:
        Functions without arguments; none on a process that saves nothing but what is its own.
    """
    _write_own(trainer, folder)
    if is_sharded(trainer.model):
        return _shards(trainer, folder, copies)
    if not trainer.args.should_save:
        return []
    if copies is None:
        return [
            partial(
                trainer.save_model, str(folder), **accepted(trainer.save_model, _internal_call=True)
            ),
            *_optimization(trainer, folder, _as_it_is),
            partial(_write_state, trainer, folder),
        ]
    _write_state(trainer, folder)
    return [*_model_in_background(trainer, folder, copies), *_optimization(trainer, folder, copies.take)]


def _shards(trainer: Trainer, folder: Path, copies: HostCopies | None) -> list[Callable[[], None]]:
    """Write model and optimizer, which lie on several processes, by all of them."""
    optimizer = None if trainer.args.save_only_model else trainer.optimizer
    weights = trainer.evaluation_weights.kept()
    wait = save_sharded(trainer.model, optimizer, weights, folder, in_background=copies is not None)
    if not trainer.args.should_save:
        return []
    _write_configuration(unwrap(trainer.model), folder)
    _write_surroundings(trainer, folder)
    _write_state(trainer, folder)
    keep = _as_it_is if copies is None else copies.take
    return [wait, *_optimization(trainer, folder, keep, (layout.SCHEDULER, layout.SCALER))]


def _write_own(trainer: Trainer, folder: Path) -> None:
    """Random numbers, and the place in the data, of this process."""
    args, loop = trainer.args, trainer.training_loop
    if args.save_only_model:
        return
    states = capture_random_state() if loop is None else random_states_of(loop)
    save_tensors(states, folder / layout.random_state_name(args.process_index, args.world_size))
    position = None if loop is None else data_position_of(loop)
    if position is not None:
        save_tensors(position, folder / layout.position_name(args.process_index, args.world_size))


def _model_in_background(trainer: Trainer, folder: Path, copies: HostCopies) -> list[Callable[[], None]]:
    """What writes a copy of the model; nothing if it had to be written at once."""
    from drivetrain.trainer import Trainer as Published

    model = unwrap(trainer.model)
    save_pretrained = getattr(model, "save_pretrained", None)
    overridden = [name for name in ("save_model", "_save") if is_overridden(trainer, Published, name)]
    takes_weights = (
        save_pretrained is None
        or hasattr(model, "peft_config")
        or names_parameter(save_pretrained, "state_dict")
    )
    if overridden or not takes_weights:
        who = f"{type(trainer).__name__}.{overridden[0]}" if overridden else "save_pretrained"
        trainer.warn_once(
            f"`async_save`: {who} cannot be handed a copy of the weights: the model is written while "
            "training waits, the rest in the background."
        )
        trainer.save_model(str(folder), **accepted(trainer.save_model, _internal_call=True))
        return []
    _write_surroundings(trainer, folder)
    weights = copies.take(model.state_dict(), "model")
    return [partial(_write_weights, trainer, folder, weights)]


_OPTIMIZATION: dict[str, Callable[[Trainer], dict[str, Any]]] = {
    layout.OPTIMIZER: lambda trainer: trainer.optimizer.state_dict(),
    layout.SCHEDULER: lambda trainer: trainer.lr_scheduler.state_dict(),
    layout.SCALER: lambda trainer: trainer.precision.state_dict(),
    layout.GRADIENTS: lambda trainer: {
        name: parameter.grad
        for name, parameter in unwrap(trainer.model).named_parameters()
        if parameter.grad is not None
    },
    layout.TRAINING_WEIGHTS: lambda trainer: trainer.evaluation_weights.kept(),
}
"""States by file. Gradients are there where they wait for more micro-batches of their update."""

_NOT_IF_EMPTY = (layout.SCALER, layout.GRADIENTS, layout.TRAINING_WEIGHTS)


def _optimization(
    trainer: Trainer,
    folder: Path,
    keep: Callable[..., Any],
    names: Iterable[str] = tuple(_OPTIMIZATION),
) -> list[Callable[[], None]]:
    """What writes the states of optimizer, schedule and precision, and gradients."""
    if trainer.args.save_only_model:
        return []
    states = {name: _OPTIMIZATION[name](trainer) for name in names}
    return [
        partial(save_tensors, keep(state, name), folder / name)
        for name, state in states.items()
        if state or name not in _NOT_IF_EMPTY
    ]


def _as_it_is(value: Any, name: str) -> Any:
    return value


def _write_state(trainer: Trainer, folder: Path) -> None:
    """Where the run is, after plugins have added what is theirs."""
    _call_plugins(trainer, folder)
    trainer.state.collect_states(trainer.stateful_callbacks())
    trainer.state.save_to_json(folder / layout.STATE)
    if trainer.training_loop is not None:
        progress = progress_of(trainer.training_loop).to_json()
        (folder / layout.PROGRESS).write_text(progress, encoding="utf-8")


def _call_plugins(trainer: Trainer, folder: Path) -> None:
    """Let plugins add files.

    Raises:
        UsageError: One of them took a name that is not theirs, or altered what was written before.
    """
    if not trainer.hooks.is_heard("write_checkpoint"):
        return
    before = _look_at(folder)
    trainer.hooks.call("write_checkpoint", folder=folder)
    after = _look_at(folder)
    taken = {path.name for path in after.keys() - before.keys() if path.parent == folder}
    taken &= set(_WRITTEN_HERE)
    taken |= {path.name for path, stamp in before.items() if after.get(path) != stamp}
    if taken:
        raise UsageError(
            f"`plugins`: the hook `write_checkpoint` of one of them wrote {', '.join(sorted(taken))}, which "
            "is a file of the checkpoint itself. Give the plugin's files names of their own."
        )


def _look_at(folder: Path) -> dict[Path, tuple[int, int]]:
    stats = {path: path.stat() for path in folder.rglob("*") if path.is_file()}
    return {path: (stat.st_mtime_ns, stat.st_size) for path, stat in stats.items()}


def count_bytes(trainer: Trainer) -> int:
    """About how large a checkpoint is: the tensors in it."""
    parts: list[Any] = [trainer.model.state_dict()]
    if not trainer.args.save_only_model:
        parts += [trainer.optimizer.state_dict(), trainer.evaluation_weights.kept()]
    return sum(map(_bytes_in, parts))


def _bytes_in(value: Any) -> int:
    if isinstance(value, torch.Tensor):
        return value.numel() * value.element_size()
    if isinstance(value, dict):
        return sum(map(_bytes_in, value.values()))
    return sum(map(_bytes_in, value)) if isinstance(value, (list, tuple)) else 0


def write_model(trainer: Trainer, folder: Path, state_dict: Any = None) -> None:
    """Write the model, what processes its data, and the arguments, to a folder.

    Args:
        trainer: The trainer.
        folder: Where to.
        state_dict: Weights by name instead of the model's own.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _write_surroundings(trainer, folder)
    _write_weights(trainer, folder, state_dict)


def _write_weights(trainer: Trainer, folder: Path, state_dict: Any = None) -> None:
    _write_weights_alone(trainer, folder, state_dict)
    # safetensors keeps its files from other users, whatever the umask is that the others' modes come from.
    mode = (folder / layout.ARGUMENTS).stat().st_mode
    for file in folder.glob("*.safetensors"):
        file.chmod(mode)


def _write_weights_alone(trainer: Trainer, folder: Path, state_dict: Any) -> None:
    is_safe, model = trainer.args.save_safetensors, unwrap(trainer.model)
    save_pretrained = getattr(model, "save_pretrained", None)
    if callable(save_pretrained) and (is_safe or names_parameter(save_pretrained, "safe_serialization")):
        options = {} if state_dict is None else {"state_dict": state_dict}
        if not is_safe:
            options["safe_serialization"] = False
        save_pretrained(str(folder), **options)
    elif is_safe:
        save_weights(model, folder, state_dict)
    else:
        _write_configuration(model, folder)
        save_tensors(
            model.state_dict() if state_dict is None else state_dict,
            folder / layout.MODEL_PICKLED,
        )


def _write_surroundings(trainer: Trainer, folder: Path) -> None:
    """What processes the model's data, and the arguments."""
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


def note_best(state: TrainerState, target: Path, own: Collection[Path]) -> None:
    """Note the checkpoint of the best update, if it is this one or an earlier one of the run.

    Args:
        state: Where to note it.
        target: The checkpoint that is being saved.
        own: Those that the run has saved.
    """
    if state.best_global_step is None:
        return
    best = target.with_name(layout.checkpoint_name(state.best_global_step))
    if best == target or best in own:
        state.best_model_checkpoint = str(best)


def facts(trainer: Trainer) -> dict[str, Any]:
    """What the manifest says besides the files."""
    contents = ["model", "state"]
    if not trainer.args.save_only_model:
        contents += ["optimizer", "schedule", "random_state"]
        contents += ["training_weights"] if trainer.evaluation_weights.kept() else []
    return {
        "step": trainer.state.global_step,
        "world_size": trainer.args.world_size,
        "contents": contents,
        "versions": {
            "drivetrain": drivetrain.__version__,
            "torch": str(torch.__version__),
            "python": platform.python_version(),
        },
        "parts": {
            "optim": trainer.args.optim,
            "lr_scheduler_type": trainer.args.lr_scheduler_type,
            "precision": trainer.precision.name,
            "strategy": trainer.strategy.name,
        },
        "run": run_facts(trainer),
    }


def run_facts(trainer: Trainer) -> dict[str, Any]:
    """What a resumed run is compared with, besides the arguments."""
    loop = trainer.training_loop
    return {
        "classes": {
            "optimizer": type(trainer.optimizer).__name__,
            "scheduler": type(trainer.lr_scheduler).__name__,
        },
        "packages": {"optimizer": type(trainer.optimizer).__module__.partition(".")[0]},
        "world_size": trainer.args.world_size,
        "train_batch_size": trainer._train_batch_size,
        "num_examples": None if loop is None else num_samples_of(loop.loader),
        "num_updates": trainer.state.max_steps,
        "precision": trainer.precision.name,
        "strategy": trainer.strategy.name,
        "torch": str(torch.__version__),
        "drivetrain": drivetrain.__version__,
    }

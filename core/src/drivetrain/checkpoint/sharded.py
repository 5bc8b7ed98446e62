"""Model and optimizer whose tensors lie on several processes: `torch.distributed.checkpoint` saves them.

Every process writes its own parts and reads what it needs, also where the processes are others, or another
number, than those that wrote.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from drivetrain.checkpoint.layout import SHARDS
from drivetrain.checkpoint.tensors import without_numpy_scalars

_TRAINING_WEIGHTS = "training_weights"
_groups: list[Any] = []
"""The group of processes that save in the background: their messages must not get among those of training."""


def is_sharded(model: nn.Module) -> bool:
    """Whether parts of the parameters lie on other processes."""
    if not (dist.is_available() and dist.is_initialized()):
        return False
    from torch.distributed.tensor import DTensor

    return any(isinstance(parameter, DTensor) for parameter in model.parameters())


def save_sharded(
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None,
    training_weights: dict[str, torch.Tensor],
    folder: Path,
    in_background: bool,
) -> Callable[[], None]:
    """Write the model and, if given, the optimizer's state; all processes call it.

    Args:
        model: The model.
        optimizer: The optimizer.
        training_weights: The weights to train, if those in the model are others.
        folder: The checkpoint that is being written.
        in_background: Return once the tensors are copied to host memory.

    Returns:
        What waits until the parts of all processes are written, to be called on the one that commits.
    """
    from torch.distributed.checkpoint.state_dict import get_model_state_dict, get_optimizer_state_dict
    from torch.distributed.checkpoint.state_dict_saver import async_save, save

    state: dict[str, Any] = {"model": get_model_state_dict(model)}
    if optimizer is not None:
        state["optimizer"] = without_numpy_scalars(get_optimizer_state_dict(model, optimizer))
        state |= {_TRAINING_WEIGHTS: training_weights} if training_weights else {}
    if not in_background:
        with causes():
            save(state, checkpoint_id=folder / SHARDS)
        return lambda: None
    if not _groups:
        _groups.append(dist.new_group(backend="gloo"))
    written: Any = async_save(state, checkpoint_id=folder / SHARDS, process_group=_groups[0])
    return lambda: _wait_for(written)


def load_sharded_model(model: nn.Module, folder: Path) -> None:
    """Read a model's weights from parts; all processes call it."""
    from torch.distributed.checkpoint.state_dict import get_model_state_dict, set_model_state_dict

    from drivetrain.checkpoint.sharded_reading import load_parts

    state = get_model_state_dict(model)
    load_parts({"model": state}, folder / SHARDS)
    set_model_state_dict(model, state)


def load_sharded_optimizer(model: nn.Module, optimizer: torch.optim.Optimizer, folder: Path) -> None:
    """Read an optimizer's state from parts; all processes call it."""
    from torch.distributed.checkpoint.state_dict import (
        get_optimizer_state_dict,
        set_optimizer_state_dict,
    )

    from drivetrain.checkpoint.sharded_reading import load_parts

    for parameter in [key for key, value in optimizer.state.items() if not value]:
        del optimizer.state[parameter]  # torch would take it for a state that is there
    state = get_optimizer_state_dict(model, optimizer)
    load_parts({"optimizer": state}, folder / SHARDS)
    set_optimizer_state_dict(model, optimizer, state)


def load_sharded_training_weights(templates: dict[str, torch.Tensor], folder: Path) -> None:
    """Read the weights to train from parts, into tensors of their shape; all processes call it."""
    from drivetrain.checkpoint.sharded_reading import load_parts

    load_parts({_TRAINING_WEIGHTS: templates}, folder / SHARDS)


def _wait_for(written: Any) -> None:
    with causes():
        written.result()


@contextmanager
def causes() -> Iterator[None]:
    """Raise what went wrong in one of the processes, instead of what those who catch errors do not catch."""
    from torch.distributed.checkpoint.api import CheckpointException

    try:
        yield
    except CheckpointException as error:
        cause, _ = next(iter(error.failures.values()))
        raise cause from error

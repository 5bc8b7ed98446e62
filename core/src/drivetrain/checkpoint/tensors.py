"""Reading and writing tensors and numbers. Nothing is unpickled but those."""

from __future__ import annotations

import json
import pickle
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from drivetrain.checkpoint.layout import MODEL, MODEL_INDEX, MODEL_PICKLED
from drivetrain_registry import UsageError


class UnsafeCheckpointError(UsageError):
    """A file would have to be unpickled to be read, or is damaged."""


def _numpy_state_types() -> list[Any]:
    """What NumPy's generator state is pickled from: an array of 32-bit integers."""
    core = getattr(np, "_core", None) or np.core
    return [core.multiarray._reconstruct, np.ndarray, np.dtype, type(np.dtype(np.uint32))]


def load_tensors(file: Path) -> Any:
    """Read what `torch.save` wrote, if it is made of tensors, numbers, texts and containers.

    Raises:
        UnsafeCheckpointError: It holds other objects, which would run code to be read, or is damaged.
    """
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(_numpy_state_types()):
            warnings.filterwarnings("ignore", "Detected pickle protocol")  # an error follows, or nothing
            return torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, ValueError) as error:
        text = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip()  # torch writes parts of it in bold
        reason = text.splitlines()[0] if text else type(error).__name__
        raise UnsafeCheckpointError(
            f"`resume_from_checkpoint`: {file} is not read: it is damaged, or holds objects that would run "
            f"code when they are read ({reason}). Take an earlier checkpoint."
        ) from error


def save_tensors(value: Any, file: Path) -> None:
    """Write tensors, numbers, texts and containers so that `load_tensors` reads them.

    NumPy's numbers become Python's: a rate computed with NumPy is in the state of many an optimizer.
    """
    torch.save(_without_numpy_scalars(value), file)


def _without_numpy_scalars(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if type(value) is dict:
        return {_without_numpy_scalars(key): _without_numpy_scalars(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_without_numpy_scalars(item) for item in value)
    return value


def save_weights(model: nn.Module, folder: Path) -> None:
    """Write a module's parameters and buffers to ``model.safetensors``; shared tensors are written once."""
    from safetensors.torch import save_model

    save_model(model, str(folder / MODEL), metadata={"format": "pt"})


def load_weights(model: nn.Module, folder: Path) -> None:
    """Read a module's parameters and buffers from a checkpoint, whole or in shards.

    Raises:
        FileNotFoundError: There are no weights.
        UsageError: Keys are missing or unexpected.
    """
    state = _read_weights(folder)
    missing, unexpected = model.load_state_dict(state, strict=False)
    own = model.state_dict(keep_vars=True)
    present = {_address(own[key]) for key in state if key in own}
    absent = [key for key in missing if _address(own[key]) not in present]  # tied weights are there once
    if absent or unexpected:
        raise UsageError(
            f"`resume_from_checkpoint`: the weights in {folder} do not fit {type(model).__name__}: "
            f"missing {_shorten(absent)}; not in the model {_shorten(unexpected)}. "
            "Build the model with the configuration that it was saved with."
        )


def has_weights(folder: Path) -> bool:
    """Whether a folder holds a model's weights in one of the known forms."""
    return any((folder / name).is_file() for name in (MODEL, MODEL_INDEX, MODEL_PICKLED))


def _read_weights(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    if (folder / MODEL).is_file():
        return load_file(folder / MODEL)
    if (folder / MODEL_INDEX).is_file():
        shards = set(json.loads((folder / MODEL_INDEX).read_text())["weight_map"].values())
        return {
            key: value for shard in sorted(shards) for key, value in load_file(folder / shard).items()
        }
    if (folder / MODEL_PICKLED).is_file():
        weights: dict[str, torch.Tensor] = load_tensors(folder / MODEL_PICKLED)
        return weights
    raise FileNotFoundError(f"`resume_from_checkpoint`: {folder} has no {MODEL}. Is it a checkpoint?")


def _address(tensor: Any) -> Any:
    return (tensor.data_ptr(), tuple(tensor.shape)) if tensor.numel() else id(tensor)


def _shorten(keys: list[str]) -> str:
    shown = ", ".join(keys[:5]) or "nothing"
    return f"{shown} and {len(keys) - 5} more" if len(keys) > 5 else shown

"""Reading and writing tensors and numbers. Nothing is unpickled but those."""

from __future__ import annotations

import json
import pickle
import re
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from drivetrain.checkpoint.layout import ADAPTERS, MODEL, MODEL_INDEX, MODEL_PICKLED
from drivetrain_registry import UsageError


class UnsafeCheckpointError(UsageError):
    """A file would have to be unpickled to be read, or is damaged."""


def _numpy_state_types() -> list[Any]:
    """What NumPy's generator state is pickled from: an array of 32-bit integers."""
    core = getattr(np, "_core", None) or np.core
    return [core.multiarray._reconstruct, np.ndarray, np.dtype, type(np.dtype(np.uint32))]


def load_tensors(file: Path, is_mapped: bool = False) -> Any:
    """Read what `torch.save` wrote, if it is made of tensors, numbers, texts and containers.

    Args:
        file: The file.
        is_mapped: Leave the tensors in the file and map it into memory, where the format allows it.

    Raises:
        UnsafeCheckpointError: It holds other objects, which would run code to be read, or is damaged.
    """
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(_numpy_state_types()):
            warnings.filterwarnings("ignore", "Detected pickle protocol")  # an error follows, or nothing
            mmap = is_mapped and zipfile.is_zipfile(file)
            return torch.load(file, map_location="cpu", weights_only=True, mmap=mmap)
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


def save_weights(model: nn.Module, folder: Path, state_dict: dict[str, Any] | None = None) -> None:
    """Write a module's parameters and buffers to ``model.safetensors``; shared tensors are written once.

    Args:
        model: The module.
        folder: Where to.
        state_dict: Weights by name instead of the module's own; none of them shared.
    """
    from safetensors.torch import save_file, save_model

    if state_dict is None:
        save_model(model, str(folder / MODEL), metadata={"format": "pt"})
    else:
        tensors = {name: value.contiguous() for name, value in state_dict.items()}
        save_file(tensors, str(folder / MODEL), metadata={"format": "pt"})


def load_weights(model: nn.Module, folder: Path, is_mapped: bool = True) -> None:
    """Read a module's parameters and buffers from a checkpoint, whole or in shards.

    Args:
        model: The module.
        folder: The checkpoint.
        is_mapped: Copy each tensor into the module out of the file, which is mapped into memory, so that
            host memory holds none of them twice; if not, the files are read into memory first, for file
            systems that cannot map.

    Raises:
        FileNotFoundError: There are no weights.
        UsageError: Keys are missing or unexpected.
    """
    adapters = find_adapters(folder)
    if adapters:
        _load_adapters(model, adapters)
        return
    own = model.state_dict(keep_vars=True)
    copied: set[str] = set()
    rest: dict[str, torch.Tensor] = {}
    for name, value in _read_weights(folder, is_mapped):
        if is_mapped and _copy_into(own.get(name), value):
            copied.add(name)
        else:  # modules that load in a way of their own do it below
            rest[name] = value
    missing, unexpected = model.load_state_dict(rest, strict=False)
    present = {_address(own[name]) for name in (*copied, *rest) if name in own}
    absent = [  # tied weights are there once
        name for name in missing if name not in copied and _address(own[name]) not in present
    ]
    if absent or unexpected:
        raise UsageError(
            f"`resume_from_checkpoint`: the weights in {folder} do not fit {type(model).__name__}: "
            f"missing {_shorten(absent)}; not in the model {_shorten(unexpected)}. "
            "Build the model with the configuration that it was saved with."
        )


def _copy_into(target: Any, value: torch.Tensor) -> bool:
    """Copy a plain tensor's values; return whether that could be done."""
    if type(target) not in (torch.Tensor, nn.Parameter) or target.shape != value.shape:
        return False
    with torch.no_grad():
        target.copy_(value)
    return True


def has_weights(folder: Path) -> bool:
    """Whether a folder holds a model's weights, or those of adapters, in one of the known forms."""
    is_there = any((folder / name).is_file() for name in (MODEL, MODEL_INDEX, MODEL_PICKLED))
    return is_there or bool(find_adapters(folder))


def find_adapters(folder: Path) -> dict[str, Path]:
    """Folders with adapters, by name; none where the weights are those of a whole model."""
    if any((folder / name).is_file() for name in (MODEL, MODEL_INDEX, MODEL_PICKLED)):
        return {}
    places = {
        "default": folder,
        **{place.name: place for place in sorted(folder.iterdir()) if place.is_dir()},
    }
    return {
        name: place
        for name, place in places.items()
        if any((place / file).is_file() for file in ADAPTERS)
    }


def _load_adapters(model: Any, adapters: dict[str, Path]) -> None:
    """Read adapters into a model that has them; the ones that were active stay it."""
    active = _active_adapters(model)
    if not active:
        raise UsageError(
            f"`resume_from_checkpoint`: {next(iter(adapters.values()))} holds an adapter's weights, and this "
            f"{type(model).__name__} has no adapter. Pass the model that it was saved with (of PEFT)."
        )
    for name, place in adapters.items():
        model.load_adapter(str(place), name, is_trainable=name in active, torch_device="cpu")
    model.set_adapter(active[0] if len(active) == 1 else active)


def _active_adapters(model: Any) -> list[str]:
    active = getattr(model, "active_adapters", [])
    try:
        return list(active() if callable(active) else active)
    except ValueError:  # a model of transformers that could have some
        return []


def _read_weights(folder: Path, is_mapped: bool) -> Iterator[tuple[str, torch.Tensor]]:
    """Names and tensors of a checkpoint's weights, read as they are asked for."""
    if (folder / MODEL).is_file():
        yield from _read_safetensors(folder / MODEL, is_mapped)
    elif (folder / MODEL_INDEX).is_file():
        shards = set(json.loads((folder / MODEL_INDEX).read_text())["weight_map"].values())
        for shard in sorted(shards):
            yield from _read_safetensors(folder / shard, is_mapped)
    elif (folder / MODEL_PICKLED).is_file():
        yield from load_tensors(folder / MODEL_PICKLED, is_mapped).items()
    else:
        raise FileNotFoundError(
            f"`resume_from_checkpoint`: {folder} has no {MODEL}. Is it a checkpoint?"
        )


def _read_safetensors(file: Path, is_mapped: bool) -> Iterator[tuple[str, torch.Tensor]]:
    from safetensors import safe_open
    from safetensors.torch import load

    if not is_mapped:
        yield from load(file.read_bytes()).items()
        return
    with safe_open(file, framework="pt") as tensors:
        for name in tensors.keys():  # noqa: SIM118  (it is no dict)
            yield name, tensors.get_tensor(name)


def _address(tensor: Any) -> Any:
    return (tensor.data_ptr(), tuple(tensor.shape)) if tensor.numel() else id(tensor)


def _shorten(keys: list[str]) -> str:
    shown = ", ".join(keys[:5]) or "nothing"
    return f"{shown} and {len(keys) - 5} more" if len(keys) > 5 else shown

"""Reading and writing tensors and numbers. Nothing is unpickled but those."""

from __future__ import annotations

import json
import pickle
import re
import threading
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import nn

from drivetrain.checkpoint.converted import can_convert, describe_misfit, load_converted
from drivetrain.checkpoint.layout import ADAPTERS, MODEL, MODEL_INDEX, MODEL_PICKLED, SHARDS
from drivetrain.parallel_wrappers import unwrap
from drivetrain_registry import UsageError

_INDEXES = (MODEL_INDEX, f"{MODEL_PICKLED}.index.json")
"""Files that say which shard each tensor is in."""
_WHOLE_MODELS = (MODEL, MODEL_INDEX, MODEL_PICKLED, _INDEXES[1])


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
        raise UnsafeCheckpointError(
            f"`resume_from_checkpoint`: {file} is not read: it is damaged, or holds objects that would run "
            f"code when they are read ({_reason(error)}). Take an earlier checkpoint."
        ) from error


def _reason(error: Exception) -> str:
    """What torch found, without its advice to read the file nevertheless."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip()  # parts of it are bold
    name = re.search(r"GLOBAL `?([\w.]+)", text)
    if name is not None:
        return f"it asks for {name[1]}"
    if "weights_only" in text:
        return "it is no archive of tensors"
    return text.splitlines()[0] if text else type(error).__name__


def save_tensors(value: Any, file: Path) -> None:
    """Write tensors, numbers, texts and containers so that `load_tensors` reads them.

    NumPy's numbers become Python's: a rate computed with NumPy is in the state of many an optimizer.

    Raises:
        OSError: It could not be written, with the system's reason: torch's own error does not tell it.
    """
    with open(file, "wb", buffering=0) as stream:
        whole = _WholeWrites(stream)
        try:
            with _without_checksums():
                torch.save(without_numpy_scalars(value), whole)  # type: ignore[arg-type]
        except RuntimeError:
            if whole.error is None:
                raise
        if whole.error is not None:
            raise OSError(whole.error.errno, whole.error.strerror, str(file))


@contextmanager
def _without_checksums() -> Iterator[None]:
    """Let torch leave out the archive's own checksums, which take as long as the writing.

    The manifest has better ones; torch does not look at those of the archive.
    """
    with _switching:
        if not _switched_off:
            _switched_off.append(torch.serialization.get_crc32_options())
        else:
            _switched_off.append(_switched_off[0])
        torch.serialization.set_crc32_options(False)
    try:
        yield
    finally:
        with _switching:
            before = _switched_off.pop()
            if not _switched_off:
                torch.serialization.set_crc32_options(before)


_switching = threading.Lock()
_switched_off: list[bool] = []
"""What the option was before, once for each thread that writes: the last one puts it back."""


class _WholeWrites:
    """A file for `torch.save` that writes all that it is given, and keeps the error if it cannot."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream = stream
        self.error: OSError | None = None

    def write(self, data: memoryview) -> int:
        view, written = memoryview(data).cast("B"), 0
        try:
            while written < len(view):  # a system call may write a part
                written += self.stream.write(view[written:])
        except OSError as error:
            self.error = self.error or error
            raise
        return written

    def flush(self) -> None:
        """There is nothing to flush: the file is not buffered."""


@contextmanager
def system_errors(file: Path) -> Iterator[None]:
    """Raise as `OSError`, with its number, what safetensors could not write.

    Args:
        file: What the error names as the file.
    """
    from safetensors import SafetensorError

    try:
        yield
    except SafetensorError as error:
        number = re.search(r"\(os error (\d+)\)", str(error))
        if number is None:
            raise
        code = int(number[1])
        raise OSError(code, str(error), str(file), code) from error  # the last is Windows' number


def without_numpy_scalars(value: Any) -> Any:
    """The same with Python's numbers where NumPy's were: those are objects to be unpickled."""
    if isinstance(value, np.generic):
        return value.item()
    if type(value) is dict:
        return {without_numpy_scalars(key): without_numpy_scalars(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(without_numpy_scalars(item) for item in value)
    return value


def save_weights(model: nn.Module, folder: Path, state_dict: dict[str, Any] | None = None) -> None:
    """Write a module's parameters and buffers to ``model.safetensors``; shared tensors are written once.

    Args:
        model: The module.
        folder: Where to.
        state_dict: Weights by name instead of the module's own.

    Raises:
        OSError: They could not be written.
    """
    from safetensors.torch import save_model

    file, holder = folder / MODEL, model if state_dict is None else _Weights(state_dict)
    with system_errors(file):
        save_model(holder, str(file), metadata={"format": "pt"})  # type: ignore[arg-type]


class _Weights:
    """Weights where a module is asked for, for the sake of its weights."""

    def __init__(self, weights: dict[str, torch.Tensor]) -> None:
        self.weights = weights

    def state_dict(self) -> dict[str, torch.Tensor]:
        return dict(self.weights)


def load_weights(model: nn.Module, folder: Path, is_mapped: bool = True) -> None:
    """Read a module's parameters and buffers from a checkpoint, whole or in shards.

    A model that renames or regroups its weights when it saves them (transformers' mixtures of experts)
    reads them through its class's ``from_pretrained``, which is given the tensors and no folder.

    Args:
        model: The module.
        folder: The checkpoint.
        is_mapped: Copy each tensor into the module out of the file, which is mapped into memory, so that
            host memory holds none of them twice; if not, the files are read into memory first, for file
            systems that cannot map.

    Raises:
        FileNotFoundError: There are no weights.
        UsageError: Keys are missing or unexpected, or tensors have other shapes.
    """
    model = unwrap(model)
    adapters = find_adapters(folder)
    if adapters:
        _load_adapters(model, adapters)
        return
    misfit = _load_by_name(model, _read_weights(folder, is_mapped), is_mapped)
    if misfit is not None and can_convert(model):
        misfit = load_converted(model, dict(_read_weights(folder, is_mapped)))
    if misfit is not None:
        raise UsageError(
            f"`resume_from_checkpoint`: the weights in {folder} do not fit {type(model).__name__}: {misfit}. "
            "Build the model with the configuration that it was saved with."
        )


def _load_by_name(
    model: nn.Module, weights: Iterator[tuple[str, torch.Tensor]], is_mapped: bool
) -> str | None:
    """Copy tensors to where they belong; return what does not fit, if anything."""
    own = model.state_dict(keep_vars=True)
    copied: set[str] = set()
    rest: dict[str, torch.Tensor] = {}
    for saved_name, value in weights:
        name = _name_inside(saved_name, own)
        if is_mapped and _copy_into(own.get(name), value):
            copied.add(name)
        else:  # modules that load in a way of their own do it below
            rest[name] = value
    try:
        missing, unexpected = model.load_state_dict(rest, strict=False)
    except RuntimeError as error:  # shapes
        return str(error).splitlines()[-1].strip(" \t.")
    present = {_address(own[name]) for name in (*copied, *rest) if name in own}
    absent = [  # tied weights are there once
        name for name in missing if name not in copied and _address(own[name]) not in present
    ]
    if absent or unexpected:
        return describe_misfit(absent, unexpected)
    return None


def _name_inside(name: str, own: Mapping[str, Any]) -> str:
    """What a weight is called in the model, where the published trainer saved it with its wrapper's name."""
    inside = name.removeprefix("module.")
    return inside if name not in own and inside in own else name


def _copy_into(target: Any, value: torch.Tensor) -> bool:
    """Copy a plain tensor's values; return whether that could be done."""
    if type(target) not in (torch.Tensor, nn.Parameter) or target.shape != value.shape:
        return False
    with torch.no_grad():
        target.copy_(value)
    return True


def has_weights(folder: Path) -> bool:
    """Whether a folder holds a model's weights, or those of adapters, in one of the known forms."""
    is_sharded = (folder / SHARDS / ".metadata").is_file()
    return is_sharded or _has_whole_model(folder) or bool(find_adapters(folder))


def _has_whole_model(folder: Path) -> bool:
    return any((folder / name).is_file() for name in _WHOLE_MODELS)


def find_adapters(folder: Path) -> dict[str, Path]:
    """Folders with adapters, by name; none where the weights are those of a whole model."""
    if _has_whole_model(folder):
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
        for file in place.glob("adapter_model*.bin"):
            load_tensors(file)  # refuses what PEFT might unpickle
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
    for name in _find_files(folder):
        if name.endswith(".safetensors"):
            yield from _read_safetensors(folder / name, is_mapped)
        else:
            yield from load_tensors(folder / name, is_mapped).items()


def _find_files(folder: Path) -> list[str]:
    """Names of the files with a model's weights: one, or the shards that an index lists."""
    for name in _WHOLE_MODELS:
        if (folder / name).is_file():
            return _find_shards(folder / name) if name in _INDEXES else [name]
    raise FileNotFoundError(f"`resume_from_checkpoint`: {folder} has no {MODEL}. Is it a checkpoint?")


def _find_shards(index: Path) -> list[str]:
    try:
        shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise UnsafeCheckpointError(
            f"`resume_from_checkpoint`: {index} is not read: it is no list of files with weights. "
            "Take an earlier checkpoint."
        ) from error
    return sorted(shards)


def _read_safetensors(file: Path, is_mapped: bool) -> Iterator[tuple[str, torch.Tensor]]:
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import load

    try:
        if not is_mapped:
            yield from load(file.read_bytes()).items()
            return
        with safe_open(file, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118  (it is no dict)
                yield name, tensors.get_tensor(name)
    except SafetensorError as error:
        raise UnsafeCheckpointError(
            f"`resume_from_checkpoint`: {file} is not read: it is damaged, or no file of safetensors "
            f"({error}). Take an earlier checkpoint."
        ) from error


def _address(tensor: Any) -> Any:
    return (tensor.data_ptr(), tuple(tensor.shape)) if tensor.numel() else id(tensor)

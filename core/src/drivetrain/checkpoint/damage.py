"""What is wrong with a checkpoint, and what it lacks."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PureWindowsPath
from typing import Any

from drivetrain.checkpoint import layout
from drivetrain.checkpoint.headers import DamagedError, check_file, read_json_object
from drivetrain.checkpoint.manifest import (
    CHECKSUM,
    FORMAT_VERSION,
    checksum,
    checksum_of,
    is_superseded,
)
from drivetrain.checkpoint.tensors import find_adapters, has_weights

_NEEDED = (layout.OPTIMIZER, layout.SCHEDULER, layout.STATE)
"""What resuming needs besides the weights. Random numbers can start afresh, with a warning."""
_OPTIONAL = (
    layout.SCALER,
    layout.GRADIENTS,
    layout.TRAINING_WEIGHTS,
    layout.PROGRESS,
    layout.ARGUMENTS,
)
"""What else is written, or not, as the run is."""
_PICKLED_INDEX = f"{layout.MODEL_PICKLED}.index.json"
_READERS = 2
"""Files that are summed up at the same time."""
_WEIGHTS = (".safetensors", ".bin")
"""Suffixes of files with weights. Where one of them is missing, there is nothing to go on with."""


class IncompleteError(DamagedError):
    """Parts are missing, but the weights and all else that is there are whole."""


def find_damage(checkpoint: Path) -> str | None:
    """What is wrong with a checkpoint, or None if training can be resumed from it.

    One with a manifest is compared with it, file by file; what else lies there does not matter. One
    without (transformers' Trainer writes none) has to have the files that resuming needs, and they have
    to be readable, as far as that shows without a checksum.
    """
    damage = examine(checkpoint)
    return None if damage is None else str(damage)


def examine(checkpoint: Path) -> DamagedError | None:
    """What is wrong, as `find_damage` tells it; an `IncompleteError` if all that is there is whole."""
    try:
        manifest = _read_manifest(checkpoint)
        missing = _check_headers(checkpoint) if manifest is None else _compare(checkpoint, manifest)
        _check_presence(checkpoint, missing, _find_needed(manifest))
    except DamagedError as error:
        return error
    except OSError as error:
        name = os.path.relpath(error.filename or checkpoint, checkpoint)
        return DamagedError(
            f"{'it' if name == '.' else name} cannot be read ({error.strerror or error})"
        )
    return None


def missing_parts(checkpoint: Path) -> list[str]:
    """Names of the files that a checkpoint lacks: what resuming needs, and what its manifest lists.

    Raises:
        ValueError: Its manifest cannot be read.
    """
    manifest = _read_manifest(checkpoint)
    names = dict.fromkeys([*_find_needed(manifest), *(manifest or {"files": {}})["files"]])
    if not any(name.startswith("rng_state") for name in names):
        names |= dict.fromkeys(_find_random_states(checkpoint) or [layout.RANDOM_STATE])
    return [name for name in names if not (checkpoint / name).is_file()]


def _find_needed(manifest: dict[str, Any] | None) -> list[str]:
    """What resuming needs besides the weights; sharded ones have the optimizer's state among them."""
    if manifest is None or f"{layout.SHARDS}/.metadata" not in manifest["files"]:
        return list(_NEEDED)
    is_within = "optimizer" in manifest.get("contents", ())
    return [name for name in _NEEDED if name != layout.OPTIMIZER or not is_within]


def _check_presence(checkpoint: Path, missing: list[str], needed: list[str]) -> None:
    """Raise an error for files that are missing: a damage if there are no whole weights."""
    for name in missing:
        if name.endswith(_WEIGHTS) or name.startswith(f"{layout.SHARDS}/"):
            raise DamagedError(f"{name} is missing")
    if not has_weights(checkpoint):
        raise DamagedError("it has no model weights")
    if missing:
        raise IncompleteError(f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing")
    absent = [name for name in needed if not (checkpoint / name).is_file()]
    if absent:
        is_model_alone = absent == [layout.OPTIMIZER, layout.SCHEDULER]
        cause = ", as if saved with `save_only_model`=True" if is_model_alone else ""
        raise IncompleteError(f"it has no {' and no '.join(absent)}{cause}")


# -- with a manifest ----------------------------------------------------------------------------------


def _read_manifest(checkpoint: Path) -> dict[str, Any] | None:
    """The manifest, if it is as it was written; None where there is none, or none of what is there now."""
    file = checkpoint / layout.MANIFEST
    if not _is_there(file) or is_superseded(checkpoint):
        return None
    _check_kind(file, layout.MANIFEST)
    content = read_json_object(file, layout.MANIFEST)
    version, files = content.get("format_version"), content.get("files")
    if type(version) is not int or version < 1 or not isinstance(files, dict):
        raise DamagedError(f"{layout.MANIFEST} is not readable: it is no manifest")
    if version > FORMAT_VERSION:
        raise DamagedError(
            f"its format is version {version}, and this drivetrain reads up to {FORMAT_VERSION}"
        )
    if version > 1 and content.get("checksum") != checksum_of(content):
        raise DamagedError(f"{layout.MANIFEST} has changed since it was saved (checksum)")
    for name, expected in files.items():
        path = PureWindowsPath(name)  # it knows slashes of both kinds
        if path.anchor or ".." in path.parts:
            raise DamagedError(f"{layout.MANIFEST} lists {name!r}, which lies outside the checkpoint")
        if not _is_description(expected):
            raise DamagedError(f"{layout.MANIFEST} is not readable: {name} has no size and checksum")
    return content


def _is_description(expected: Any) -> bool:
    if not isinstance(expected, dict):
        return False
    return type(expected.get("size")) is int and isinstance(expected.get(_algorithm(expected)), str)


def _algorithm(expected: dict[str, Any]) -> str:
    return "crc32" if "crc32" in expected else CHECKSUM


def _compare(checkpoint: Path, manifest: dict[str, Any]) -> list[str]:
    """Compare what is there with the manifest; return what is not there."""
    listed = manifest["files"]
    present = [name for name in listed if _is_there(checkpoint / name)]
    for name in present:
        file, expected = checkpoint / name, listed[name]
        _check_kind(file, name)
        size = file.stat().st_size
        if size != expected["size"]:
            raise DamagedError(f"{name} has {size} bytes instead of {expected['size']}")
    algorithms = [_algorithm(listed[name]) for name in present]
    with ThreadPoolExecutor(_READERS) as threads:
        sums = threads.map(checksum, [checkpoint / name for name in present], algorithms)
        for name, algorithm, found in zip(present, algorithms, sums, strict=True):
            if found != listed[name][algorithm]:
                raise DamagedError(f"{name} has changed since it was saved (checksum)")
    return [name for name in listed if name not in present]


def _is_there(file: Path) -> bool:
    """Whether a name is taken. `os.path.lexists` says no where it may not look."""
    try:
        file.lstat()
    except (FileNotFoundError, NotADirectoryError, ValueError):  # the last: no name of a file
        return False
    return True


def _check_kind(file: Path, name: str) -> None:
    if file.is_dir():
        raise DamagedError(f"{name} is a folder")
    if file.is_symlink() and not file.exists():
        raise DamagedError(f"{name} is a link to nothing")
    if not file.is_file():
        raise DamagedError(f"{name} is no file")


# -- without one --------------------------------------------------------------------------------------


def _check_headers(checkpoint: Path) -> list[str]:
    """Check the files that resuming reads; return the weights' shards that are not there."""
    weights, missing = _find_weights(checkpoint), []
    own = [file.name for file in sorted(checkpoint.glob("dataloader*.pt"))]
    for name in (*weights, *_NEEDED, *_OPTIONAL, *_find_random_states(checkpoint), *own):
        file = checkpoint / name
        if _is_there(file):
            _check_kind(file, name)
            check_file(file, name)
        elif name in weights:
            missing.append(name)
    return missing


def _find_weights(checkpoint: Path) -> list[str]:
    """Names of the files that the weights are read from, whether they are there or not."""
    for name in (layout.MODEL, layout.MODEL_INDEX, layout.MODEL_PICKLED, _PICKLED_INDEX):
        file = checkpoint / name
        if file.is_file():
            return [name, *_find_shards(file)] if name.endswith(".json") else [name]
    found = []
    for place in find_adapters(checkpoint).values():
        file = next(place / name for name in layout.ADAPTERS if (place / name).is_file())
        found.append(file.relative_to(checkpoint).as_posix())
    return found


def _find_shards(index: Path) -> list[str]:
    shards = read_json_object(index, index.name).get("weight_map")
    names = list(shards.values()) if isinstance(shards, dict) else []
    if not names or not all(isinstance(name, str) and Path(name).name == name for name in names):
        raise DamagedError(f"{index.name} is not readable: it lists no files with weights")
    return sorted(set(names))


def _find_random_states(checkpoint: Path) -> list[str]:
    return sorted(file.name for file in checkpoint.glob("rng_state*.pth"))

"""The checkpoints in a run's folder, as their manifests have them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

STATE_FILE = "trainer_state.json"
_FOREIGN = "training_args.bin"
_NAME = re.compile(r"checkpoint-(\d+)")


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint.

    Attributes:
        size: Bytes of all its files.
        saved: Seconds since 1970.
        fault: What keeps it from being whole, as far as names and sizes tell; empty if nothing.
        has_manifest: Whether it says itself what belongs to it: one of transformers' Trainer does not.
        manifest: What it says.
    """

    folder: Path
    step: int
    size: int
    saved: float
    fault: str
    has_manifest: bool
    manifest: Mapping[str, Any] = field(default_factory=dict)

    def read_json(self, name: str) -> dict[str, Any]:
        """A file of it, if that is there and a JSON object."""
        return read_object(self.folder / name) or {}


def find_checkpoints(folder: Path) -> list[Checkpoint]:
    """The checkpoints in a folder, oldest step first. Contents are not summed: that takes minutes."""
    found = [_examine(path, step) for path, step in _list(folder)]
    return sorted(found, key=lambda checkpoint: checkpoint.step)


def read_object(file: Path) -> dict[str, Any] | None:
    """A JSON object from a file; None where there is none."""
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def _list(folder: Path) -> Iterator[tuple[Path, int]]:
    for path in folder.iterdir():
        match = _NAME.fullmatch(path.name)
        if match and path.is_dir():
            yield path, int(match[1])


def _examine(folder: Path, step: int) -> Checkpoint:
    files = {
        path.relative_to(folder).as_posix(): path.stat() for path in folder.rglob("*") if path.is_file()
    }
    manifest = read_object(folder / "manifest.json")
    if manifest and _FOREIGN in files and _FOREIGN not in manifest.get("files", ()):
        del files["manifest.json"]  # transformers' Trainer saved over it: it tells nothing any more
        manifest = None
    return Checkpoint(
        folder=folder,
        step=step,
        size=sum(stat.st_size for stat in files.values()),
        saved=max((stat.st_mtime for stat in files.values()), default=folder.stat().st_mtime),
        fault=_find_fault(manifest, {name: stat.st_size for name, stat in files.items()}),
        has_manifest="manifest.json" in files,
        manifest=manifest or {},
    )


def _find_fault(manifest: dict[str, Any] | None, sizes: dict[str, int]) -> str:
    if manifest is None:
        return "its manifest cannot be read" if "manifest.json" in sizes else ""
    listed = manifest.get("files")
    for name, known in listed.items() if isinstance(listed, dict) else ():
        if name not in sizes:
            return f"{name} is missing"
        if isinstance(known, dict) and known.get("size", sizes[name]) != sizes[name]:
            return f"{name} has {sizes[name]} bytes of {known['size']}"
    return ""

"""Looks at what a killed process left, with nothing of the code that wrote or reads checkpoints."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xxhash

ALGORITHMS: dict[str, Callable[[bytes], str]] = {
    "crc32": lambda content: f"{zlib.crc32(content):08x}",
    "xxh3_64": lambda content: xxhash.xxh3_64(content).hexdigest(),
    "xxh3_128": lambda content: xxhash.xxh3_128(content).hexdigest(),
}
NEEDED = {"model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json"}

_CHECKPOINT = re.compile(r"checkpoint-(\d+)")
_SET_ASIDE = re.compile(r"\.replaced-checkpoint-(\d+)-\w+")


@dataclass(frozen=True)
class Promise:
    """What a run said that it saved, and what it was told to keep.

    Attributes:
        steps: The updates whose save it told of, in order.
        limit: ``save_total_limit``.
    """

    steps: tuple[int, ...] = ()
    limit: int | None = None

    @property
    def last(self) -> int:
        """The update that is not to be lost any more."""
        return self.steps[-1] if self.steps else 0


def steps_in(folder: Path, pattern: re.Pattern[str] = _CHECKPOINT) -> dict[int, Path]:
    """The checkpoints of a folder by update."""
    matches = {path: pattern.fullmatch(path.name) for path in folder.iterdir()}
    return {int(match[1]): path for path, match in sorted(matches.items()) if match}


def find_fault(folder: Path, promise: Promise) -> str | None:
    """What is wrong with a folder in which a process was killed; None if nothing is."""
    checkpoints = steps_in(folder)
    for step, checkpoint in checkpoints.items():
        fault = find_damage(checkpoint, step)
        if fault:
            return f"{checkpoint.name}: {fault}"
    there = set(checkpoints) | set(steps_in(folder, _SET_ASIDE))
    if promise.last > max(there, default=0):
        return f"the save of update {promise.last} was told of; there are {sorted(there)}"
    if promise.limit is None and not there.issuperset(promise.steps):
        return f"saves of {promise.steps} were told of; there are {sorted(there)}"
    if promise.limit is not None and len(there) < min(promise.limit, len(set(promise.steps))):
        return f"only {sorted(there)} are left, and `save_total_limit` is {promise.limit}"
    return find_lost_best(checkpoints[max(checkpoints)]) if checkpoints else None


def find_damage(checkpoint: Path, step: int) -> str | None:
    """What a checkpoint has other than its manifest says."""
    manifest = json.loads((checkpoint / "manifest.json").read_text())
    files: dict[str, dict[str, Any]] = manifest["files"]
    there = {path.relative_to(checkpoint).as_posix() for path in checkpoint.rglob("*") if path.is_file()}
    if there != {*files, "manifest.json"} or not there.issuperset(NEEDED):
        return f"it has {sorted(there)}, and its manifest names {sorted(files)}"
    for name, facts in files.items():
        content = (checkpoint / name).read_bytes()
        sums = [algorithm for algorithm in ALGORITHMS if algorithm in facts]
        if not sums:
            return f"its manifest has no checksum of {name}"
        if len(content) != facts["size"] or any(
            ALGORITHMS[sum_](content) != facts[sum_] for sum_ in sums
        ):
            return f"{name} is not what its manifest says"
    saved = json.loads((checkpoint / "trainer_state.json").read_text())["global_step"]
    if not step == saved == manifest["step"]:
        return f"it was saved after update {saved}, and its manifest says {manifest['step']}"
    return None


def find_lost_best(newest: Path) -> str | None:
    """Whether the best checkpoint, as the newest names it, is gone."""
    state = json.loads((newest / "trainer_state.json").read_text())
    best = state["best_model_checkpoint"]
    if state["best_global_step"] is None:
        return None
    if best is not None and (newest.parent / Path(best).name).is_dir():
        return None
    return f"{newest.name} says that update {state['best_global_step']} is the best, in {best}"


def leftovers_in(folder: Path) -> list[str]:
    """What is neither a checkpoint nor meant to stay."""
    return sorted(path.name for path in folder.iterdir() if not _CHECKPOINT.fullmatch(path.name))

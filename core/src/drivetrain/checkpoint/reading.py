"""Finding the checkpoint to resume from: the newest that is whole."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from drivetrain.checkpoint.layout import MANIFEST, OPTIMIZER, SCHEDULER, STATE, list_checkpoints
from drivetrain.checkpoint.tensors import has_weights
from drivetrain.checkpoint.writing import FORMAT_VERSION, checksum
from drivetrain_registry import UsageError

logger = logging.getLogger(__name__)


def find_checkpoint(resume_from: str | bool | Path, output_dir: Path) -> Path:
    """The checkpoint to resume from.

    Args:
        resume_from: True for the newest whole checkpoint in ``output_dir``, or a path to one.
        output_dir: The folder of the run.

    Raises:
        UsageError: There is none, or the one named is damaged or not complete.
    """
    if resume_from is not True:
        checkpoint = Path(str(resume_from)).expanduser()
        if not checkpoint.is_dir() and (output_dir / checkpoint).is_dir():  # "last-checkpoint", say
            checkpoint = output_dir / checkpoint
        if not checkpoint.is_dir():
            raise UsageError(
                f"`resume_from_checkpoint`: {str(checkpoint)!r} is no folder. Type the path of a checkpoint, "
                f"or True for the newest in {str(output_dir)!r}."
            )
        damage = find_damage(checkpoint)
        if damage:
            raise UsageError(
                f"`resume_from_checkpoint`: {str(checkpoint)!r} cannot be resumed from: {damage}. "
                "Type the path of another checkpoint, or True for the newest that is whole."
            )
        return checkpoint
    return _find_newest(output_dir)


def _find_newest(output_dir: Path) -> Path:
    passed_over: list[str] = []
    for checkpoint in reversed(list_checkpoints(output_dir)):
        damage = find_damage(checkpoint)
        if damage is None:
            if passed_over:
                logger.warning("Resuming from %s. Passed over: %s.", checkpoint, "; ".join(passed_over))
            return checkpoint
        passed_over.append(f"{checkpoint.name} ({damage})")
    found = f"Found and passed over: {'; '.join(passed_over)}. " if passed_over else ""
    raise UsageError(
        f"`resume_from_checkpoint`: True, and {str(output_dir)!r} has no whole checkpoint. {found}"
        "Leave it out to start from the beginning."
    )


def find_damage(checkpoint: Path) -> str | None:
    """What is wrong with a checkpoint, or None if training can be resumed from it.

    One with a manifest is compared with it, file by file. One without (transformers' Trainer writes
    none) has to have the files that resuming needs.
    """
    manifest = checkpoint / MANIFEST
    if manifest.is_file():
        damage = _compare_with_manifest(checkpoint, manifest)
        if damage:
            return damage
    if not has_weights(checkpoint):
        return "it has no model weights"
    missing = [name for name in (OPTIMIZER, SCHEDULER, STATE) if not (checkpoint / name).is_file()]
    if missing:
        return f"it has no {' and no '.join(missing)}, as if saved with `save_only_model`=True"
    return None


def _compare_with_manifest(checkpoint: Path, manifest: Path) -> str | None:
    try:
        content = json.loads(manifest.read_text(encoding="utf-8"))
        version, files = content["format_version"], content["files"]
    except (ValueError, KeyError, UnicodeDecodeError):
        return f"its {MANIFEST} cannot be read"
    if version > FORMAT_VERSION:
        return f"its format is version {version}, and this drivetrain reads up to {FORMAT_VERSION}"
    for name, expected in files.items():
        file = checkpoint / name
        if not file.is_file():
            return f"{name} is missing"
        if file.stat().st_size != expected["size"]:
            return f"{name} has {file.stat().st_size} bytes instead of {expected['size']}"
        if checksum(file) != expected["crc32"]:
            return f"{name} has changed since it was saved (checksum)"
    return None

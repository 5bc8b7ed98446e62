"""Writing a checkpoint: it is there whole, or not at all."""

from __future__ import annotations

import json
import logging
import os
import shutil
import uuid
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from drivetrain.checkpoint.layout import DELETING_PREFIX, MANIFEST, STAGING_PREFIX

logger = logging.getLogger(__name__)

FORMAT_VERSION = 1
"""Version of the manifest. A reader refuses one from a later version."""

_CHUNK = 1 << 20


@contextmanager
def stage(target: Path, facts: dict[str, Any]) -> Iterator[Path]:
    """Give a folder to fill, beside ``target``; when it is left, flush it and give it that name.

    A kill at any instant leaves either no folder of that name or the whole one. An error while it is
    filled removes it. A checkpoint that has the name already (a run that was set back and came here
    again) makes place only once the new one is whole.

    Args:
        target: The checkpoint.
        facts: What the manifest says besides the files.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    clear_leftovers(target.parent)
    staging = target.with_name(f"{STAGING_PREFIX}{target.name}-{uuid.uuid4().hex[:8]}")
    staging.mkdir()
    try:
        yield staging
        files = _flush_files(staging)
        manifest = {"format_version": FORMAT_VERSION, **facts, "files": files}
        (staging / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
        _flush(staging / MANIFEST)
        for folder in sorted({path.parent for path in staging.rglob("*")}):
            _flush(folder)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    if target.exists():
        delete(target)
    os.replace(staging, target)
    _flush(target.parent)


def write_whole(file: Path, text: str) -> None:
    """Write a text file that is there whole or as it was, whatever happens meanwhile."""
    beside = file.with_name(f".{file.name}-{uuid.uuid4().hex[:8]}")
    try:
        beside.write_text(text, encoding="utf-8")
        _flush(beside)
        os.replace(beside, file)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    _flush(file.parent)


def delete(checkpoint: Path) -> None:
    """Delete a checkpoint, under another name first: a kill meanwhile leaves no half one."""
    doomed = checkpoint.with_name(f"{DELETING_PREFIX}{checkpoint.name}-{uuid.uuid4().hex[:8]}")
    os.replace(checkpoint, doomed)
    _flush(checkpoint.parent)
    shutil.rmtree(doomed)


def clear_leftovers(output_dir: Path) -> None:
    """Delete what an earlier process left half written or half deleted, and say so."""
    for path in output_dir.glob(".*"):
        if path.name.startswith((STAGING_PREFIX, DELETING_PREFIX)) and path.is_dir():
            logger.warning("Deleting %s, which an interrupted process left.", path)
            shutil.rmtree(path)


def checksum(file: Path) -> str:
    """CRC-32 of a file's content, as eight hexadecimal digits."""
    value = 0
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            value = zlib.crc32(chunk, value)
    return f"{value:08x}"


def _flush_files(folder: Path) -> dict[str, dict[str, Any]]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    for file in files:
        _flush(file)
    return {
        file.relative_to(folder).as_posix(): {"size": file.stat().st_size, "crc32": checksum(file)}
        for file in files
    }


def _flush(path: Path) -> None:
    """Force a file or a folder's entries to the disk."""
    if path.is_dir() and os.name == "nt":  # Windows flushes a folder's entries by itself
        return
    descriptor = os.open(
        path, os.O_RDONLY if path.is_dir() else os.O_RDWR
    )  # Windows flushes what it may write
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

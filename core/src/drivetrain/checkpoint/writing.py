"""Writing a checkpoint: it is there whole, or not at all."""

from __future__ import annotations

import logging
import os
import re
import shutil
import uuid
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drivetrain.checkpoint.layout import (
    DELETING_PREFIX,
    MANIFEST,
    REPLACED_PREFIX,
    STAGING_PREFIX,
)
from drivetrain.later import Later

if TYPE_CHECKING:
    from drivetrain.checkpoint import manifest
else:
    manifest = Later("drivetrain.checkpoint.manifest")

logger = logging.getLogger(__name__)


class StagedCheckpoint:
    """A checkpoint that is being written, in a folder beside its place that no reader takes for one.

    A kill at any instant leaves either no folder of its name (or the earlier one) or the whole one. Files
    are flushed to the disk, and summed up, in threads while others are written.

    Args:
        target: The checkpoint.
        token: What tells the folder from those of other runs; by default a random one.
    """

    def __init__(self, target: Path, token: str | None = None) -> None:
        self.target = target
        self.folder = target.with_name(f"{STAGING_PREFIX}{target.name}-{token or _token()}")
        self._threads: ThreadPoolExecutor | None = None
        self._flushed: dict[Path, Future[None]] = {}
        self._described: dict[Path, Future[dict[str, Any]]] = {}

    def begin(self) -> None:
        """Make the folder, after what earlier processes left has been cleared away."""
        self.target.parent.mkdir(parents=True, exist_ok=True)
        clear_leftovers(self.target.parent)
        self.folder.mkdir()

    def flush_written(self) -> None:
        """Begin to flush and sum up the files that are there by now: they are not written to again."""
        if self._threads is None:
            self._threads = ThreadPoolExecutor(2, thread_name_prefix="drivetrain-flush")
        for file in sorted(path for path in self.folder.rglob("*") if path.is_file()):
            if file not in self._flushed:
                self._flushed[file] = self._threads.submit(_flush, file)
                self._described[file] = self._threads.submit(manifest.describe, file)

    def commit(self, facts: dict[str, Any]) -> None:
        """Flush everything, write the manifest, and give the folder its name.

        A checkpoint that has the name already (a run that was set back and came here again) makes place
        once the new one is whole.

        Args:
            facts: What the manifest says besides the files.
        """
        self.flush_written()
        files = {
            file.relative_to(self.folder).as_posix(): described.result()
            for file, described in self._described.items()
        }
        for flushed in self._flushed.values():
            flushed.result()
        self._end_threads()
        _write_and_flush(self.folder / MANIFEST, manifest.manifest_text(facts, files))
        for folder in sorted({path.parent for path in self.folder.rglob("*")}):
            _flush(folder)
        replaced = _set_aside(self.target)
        try:
            os.replace(self.folder, self.target)
        except OSError:
            if replaced is not None:
                os.replace(replaced, self.target)
            raise
        _flush(self.target.parent)
        if replaced is not None:
            delete(replaced)

    def abandon(self) -> None:
        """Remove what was written so far."""
        self._end_threads()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _end_threads(self) -> None:
        if self._threads is not None:
            self._threads.shutdown(wait=True, cancel_futures=True)
            self._threads = None


def write_whole(file: Path, text: str) -> None:
    """Write a text file that is there whole or as it was, whatever happens meanwhile."""
    beside = file.with_name(f".{file.name}-{_token()}")
    try:
        _write_and_flush(beside, text)
        os.replace(beside, file)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    _flush(file.parent)


def delete(checkpoint: Path) -> None:
    """Delete a checkpoint, under another name first: a kill meanwhile leaves no half one."""
    doomed = checkpoint.with_name(f"{DELETING_PREFIX}{checkpoint.name.lstrip('.')}-{_token()}")
    os.replace(checkpoint, doomed)
    _flush(checkpoint.parent)
    _remove(doomed)


def _remove(path: Path) -> None:
    """Remove a folder, or a link to one and not what it leads to."""
    if path.is_symlink():
        path.unlink()
    else:
        shutil.rmtree(path)


def clear_leftovers(output_dir: Path) -> None:
    """Delete what an earlier process left half written or half deleted, and say so."""
    restore_replaced(output_dir)
    for path in output_dir.glob(".*"):
        if path.name.startswith((STAGING_PREFIX, DELETING_PREFIX)) and path.is_dir():
            logger.warning("Deleting %s, which an interrupted process left.", path)
            try:
                _remove(path)
            except OSError as error:
                logger.error("%s cannot be deleted: %s", path, error)


def restore_replaced(output_dir: Path) -> None:
    """Put checkpoints back that were to be replaced when their process was killed; delete replaced ones."""
    for path in sorted(output_dir.glob(f"{REPLACED_PREFIX}*")):
        name = re.fullmatch(rf"{re.escape(REPLACED_PREFIX)}(checkpoint-\d+)-\w+", path.name)
        if name is None or not path.is_dir():
            continue
        target = output_dir / name[1]
        if target.exists():
            logger.warning("Deleting %s, which an interrupted process left.", path)
            delete(path)
        else:
            logger.warning("Putting %s back: an interrupted process was about to replace it.", target)
            os.replace(path, target)
            _flush(output_dir)


def _set_aside(target: Path) -> Path | None:
    """Take a checkpoint's name away, so that it can still be put back; None if there is none."""
    if not target.exists():
        return None
    aside = target.with_name(f"{REPLACED_PREFIX}{target.name}-{_token()}")
    os.replace(target, aside)
    _flush(target.parent)
    return aside


def _token() -> str:
    return uuid.uuid4().hex[:8]


def _write_and_flush(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8")
    _flush(file)


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

"""Writes files whole, and not over what somebody else wrote."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from drivetrain.plugin import UsageError

MARK_IN_PICTURES = "drivetrain report"
_BEGINNING = 4096


def refuse_to_replace(file: Path, mark: str, *, force: bool) -> None:
    """Check that a file may be written.

    Args:
        file: Where to.
        mark: What is near the beginning of files that were written here before.
        force: Replace any file.

    Raises:
        UsageError: There is a file that was not written here, or a folder, or no folder to write to.
    """
    if file.is_dir():
        raise UsageError(f"`--output`: {str(file)!r} is a folder. Give the name of a file in it.")
    if not file.parent.is_dir():
        raise UsageError(f"`--output`: there is no folder {str(file.parent)!r}. Make it first.")
    if not file.exists() or force:
        return
    with file.open("rb") as stream:
        if mark.encode() not in stream.read(_BEGINNING):
            raise UsageError(
                f"`--output`: {str(file)!r} is there and was not written by this command. Give another name, "
                "or type --force to replace it."
            )


def write_whole(file: Path, write: Callable[[str], None]) -> None:
    """Write a file beside its place and move it there, so that it is never half a file.

    Args:
        file: Where to.
        write: Writes to the path that it is given.

    Raises:
        UsageError: The folder cannot be written to, or the disk is full.
    """
    staged = ""
    try:
        handle, staged = tempfile.mkstemp(suffix=file.suffix, prefix=".report-", dir=file.parent)
        os.close(handle)
        write(staged)
        os.chmod(staged, 0o666 & ~_read_umask())  # mkstemp keeps others from reading
        os.replace(staged, file)
    except OSError as error:
        raise UsageError(f"`--output`: {str(file)!r} cannot be written: {error.strerror}.") from error
    finally:
        if staged and os.path.exists(staged):
            os.unlink(staged)


def _read_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

"""What is said when a checkpoint cannot be written."""

from __future__ import annotations

import errno
import os
import re
import shutil
from pathlib import Path


class CheckpointWriteError(OSError):
    """A checkpoint could not be written; those before are as they were."""


_SPACE = (errno.ENOSPC, errno.EDQUOT)
_PERMISSION = (errno.EACCES, errno.EPERM, errno.EROFS)


def find_os_error(error: BaseException) -> OSError | None:
    """The error of the operating system that an error is, or tells of in its text; None if it is another.

    Libraries that write files outside of Python say it in words of their own.
    """
    if isinstance(error, OSError):
        return error
    text = str(error)
    if type(error).__name__ == "SafetensorError" and "os error" in text.lower():
        code = re.search(r"os error (\d+)|code: (\d+)", text, re.IGNORECASE)
        return OSError(int(code[1] or code[2]) if code else errno.EIO, text)
    if isinstance(error, RuntimeError) and ("PytorchStreamWriter" in text or "unexpected pos" in text):
        return OSError(errno.EIO, text.splitlines()[0])
    return None


def explain(error: OSError, name: str, folder: Path, num_bytes: int, last_good: Path | None) -> str:
    """What happened, what is needed and there, what is left, and what to do.

    Args:
        error: The operating system's error.
        name: The checkpoint that was to be written.
        folder: Where to.
        num_bytes: How large it is, about.
        last_good: The checkpoint that is there; None if there is none.
    """
    reason = os.strerror(error.errno) if error.errno else str(error)
    kept = f"The last good checkpoint is {last_good}." if last_good else "There is no checkpoint yet."
    return (
        f"`output_dir`: {name} could not be written to {str(folder)!r}: {reason}. It takes about "
        f"{format_size(num_bytes)}{_free_space(folder)}. {kept} {_remedy(error)}"
    )


def format_size(num_bytes: int) -> str:
    """A number of bytes for people to read."""
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if num_bytes >= factor:
            return f"{num_bytes / factor:.1f} {unit}"
    return f"{num_bytes} bytes"


def _free_space(folder: Path) -> str:
    for place in (folder, *folder.parents):
        try:
            free = f", and {format_size(shutil.disk_usage(place).free)} are free there"
            return free + (", but no more files can be made" if _has_no_inodes(place) else "")
        except OSError:
            continue
    return ""


def _has_no_inodes(folder: Path) -> bool:
    if not hasattr(os, "statvfs"):
        return False
    stats = os.statvfs(folder)
    return stats.f_files > 0 and stats.f_favail == 0


def _remedy(error: OSError) -> str:
    if error.errno in _SPACE:
        return "Make space: save_total_limit=2 keeps two checkpoints only, save_only_model=True less of each."
    if error.errno in _PERMISSION:
        return "Let this user write there (chmod, or a mount that is not read-only)."
    if error.errno == errno.EFBIG:
        return "A limit on the size of files forbids it (`ulimit -f`): raise it."
    return "Is the disk in order, and still there?"

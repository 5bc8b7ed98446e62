"""Copies of checkpoints and models for reporters, which may take their time to read them."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from drivetrain.signatures import accepted

if TYPE_CHECKING:
    from drivetrain.trainer import Trainer

FOLDER = ".reporting"
"""The folder in `output_dir` with what reporters have not read yet."""

_FOLDERS = threading.Lock()
"""Held while folders for copies come and go: copies are made in one thread and removed in others."""


class Copy(NamedTuple):
    """Files that nobody else removes or alters.

    Attributes:
        folder: The folder with them, in one that is the copy's own.
    """

    folder: Path

    def remove(self) -> None:
        """Remove it, and what it alone lies in."""
        own = self.folder.parent
        shutil.rmtree(own, ignore_errors=True)
        with _FOLDERS:
            for parent in (own.parent, own.parent.parent):
                try:
                    parent.rmdir()
                except OSError:  # something else is in there
                    return


def remove_left_over(output_dir: Path, reporter: str) -> None:
    """Remove what a process that was killed left there."""
    shutil.rmtree(_folder_of(output_dir, reporter), ignore_errors=True)


def link_copy(folder: Path, reporter: str) -> Copy:
    """A copy of a checkpoint that takes no room where the file system can link files.

    A checkpoint may be removed to keep `save_total_limit` while a reporter is still reading it.
    """
    copy = _place(folder.parent, reporter, folder.name)
    shutil.copytree(folder, copy.folder, copy_function=_link_or_copy)
    return copy


def save_model(trainer: Trainer, reporter: str) -> Copy:
    """The model as it is, in a folder of its own."""
    copy = _place(Path(trainer.args.output_dir), reporter, "model")
    trainer.save_model(copy.folder, **accepted(trainer.save_model, _internal_call=True))
    return copy


def _place(output_dir: Path, reporter: str, name: str) -> Copy:
    folder = _folder_of(output_dir, reporter)
    with _FOLDERS:
        folder.mkdir(parents=True, exist_ok=True)
        return Copy(Path(tempfile.mkdtemp(dir=folder), name))


def _folder_of(output_dir: Path, reporter: str) -> Path:
    return output_dir / FOLDER / re.sub(r"[^A-Za-z0-9.-]", "_", reporter)


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)

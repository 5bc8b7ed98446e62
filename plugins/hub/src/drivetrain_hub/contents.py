"""Which files of a checkpoint and of the output folder are pushed, and under which names."""

from __future__ import annotations

import dataclasses
import os
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

CARDS = ("README.md", "README.drivetrain.md")

LAST_CHECKPOINT = "last-checkpoint"
"""The folder of the repository that holds the checkpoint to resume from."""

NOT_THE_MODEL = (
    "manifest.json",
    "trainer_state.json",
    "progress.json",
    "gradients.pt",
    "dataloader*.pt",
    "distributed",
    "optimizer*",
    "scheduler.pt",
    "scaler.pt",
    "rng_state*.pth",
    "global_step*",
    "latest",
    "zero_to_fp32.py",
)
"""What a checkpoint holds besides what `Trainer.save_model` writes: the state of the run."""

NOT_PUSHED = ("checkpoint-*", LAST_CHECKPOINT, "_*", ".*")
"""What stands in an output folder and is not pushed: checkpoints, and what is hidden."""

_SNAPSHOT_PREFIX = ".pushing-"


@dataclass
class Contents:
    """What a push puts into the repository, in one commit.

    Attributes:
        files: Each file by its name in the repository, or its content.
        replaced: Folders of the repository in which nothing else stays.
        unchanging: Those of the files that nobody writes to: a checkpoint's.
    """

    files: dict[str, Path | bytes] = field(default_factory=dict)
    replaced: set[str] = field(default_factory=set)
    unchanging: set[Path] = field(default_factory=set)

    def add_model(self, checkpoint: Path) -> None:
        """Add what a checkpoint holds of the model, as the repository's own files."""
        for name, file in _files_in(checkpoint).items():
            if not _matches(name, NOT_THE_MODEL) and name not in CARDS:
                self.files[name] = file
                self.unchanging.add(file)

    def add_cards(self, output_dir: Path) -> None:
        """Add the cards as they are now."""
        for name in CARDS:
            if (output_dir / name).is_file():
                self.files[name] = (output_dir / name).read_bytes()

    def add_checkpoint(self, checkpoint: Path, name: str) -> None:
        """Add a whole checkpoint as a folder of that name."""
        self.replaced.add(name)
        for inner, file in _files_in(checkpoint).items():
            self.files[f"{name}/{inner}"] = file
            self.unchanging.add(file)

    def add_folder(self, output_dir: Path) -> None:
        """Add what stands in the output folder, but for checkpoints and hidden files."""
        for name, file in _files_in(output_dir, NOT_PUSHED).items():
            self.files[name] = file


class Snapshot:
    """A hidden folder beside checkpoints that holds what a push sends, whatever becomes of the originals.

    Args:
        output_dir: The folder to make it in.
    """

    def __init__(self, output_dir: Path) -> None:
        prefix = f"{_SNAPSHOT_PREFIX}{os.getpid()}-"
        self.folder = Path(tempfile.mkdtemp(prefix=prefix, dir=output_dir))

    def take(self, contents: Contents) -> Contents:
        """The same contents, each file in this folder: a link to that of a checkpoint, else a copy."""
        held: dict[Path, Path] = {}
        for file in contents.files.values():
            if isinstance(file, Path) and file not in held:
                held[file] = self.folder / str(len(held)) / file.name
                _hold(file, held[file], may_link=file in contents.unchanging)
        files = {
            name: held[file] if isinstance(file, Path) else file for name, file in contents.files.items()
        }
        return dataclasses.replace(contents, files=files)

    def drop(self) -> None:
        """Delete it."""
        shutil.rmtree(self.folder, ignore_errors=True)


def clear_snapshots(output_dir: Path) -> None:
    """Delete snapshots that another process, which is gone, has left."""
    own = f"{_SNAPSHOT_PREFIX}{os.getpid()}-"
    for folder in output_dir.glob(f"{_SNAPSHOT_PREFIX}*"):
        if not folder.name.startswith(own):
            shutil.rmtree(folder, ignore_errors=True)


def stale(names: Iterable[str], contents: Contents) -> list[str]:
    """Which of the repository's files a push deletes: old ones in folders that it replaces."""
    return [
        name
        for name in names
        if name not in contents.files and any(name.startswith(f"{top}/") for top in contents.replaced)
    ]


def _files_in(folder: Path, left_out: tuple[str, ...] = ()) -> dict[str, Path]:
    """The files below a folder by their names in it, with slashes; none from folders that are left out."""
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if _matches(path.name, left_out):
            continue
        if path.is_dir():
            inner = _files_in(path, tuple(pattern for pattern in left_out if pattern == ".*"))
            found.update({f"{path.name}/{name}": file for name, file in inner.items()})
        elif path.is_file():
            found[path.name] = path
    return found


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch(name.partition("/")[0], pattern) for pattern in patterns)


def _hold(file: Path, target: Path, *, may_link: bool) -> None:
    target.parent.mkdir()
    if may_link:
        try:
            os.link(file, target)
            return
        except OSError:  # a disk that knows no hard links
            pass
    shutil.copyfile(file, target)

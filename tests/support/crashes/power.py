"""What a failure of the power would leave: nothing that was not flushed to the disk counts."""

from __future__ import annotations

from pathlib import Path

from crashes.system_calls import (
    CREATING,
    DELETING,
    FLUSHING,
    OPENING,
    RENAMING,
    WRITING,
    SystemCall,
)


class Disk:
    """Follows system calls, and knows what is not on the disk yet.

    Args:
        folder: The folder of the run.

    Attributes:
        num_published: Checkpoints that were given their name.
        faults: What a failure of the power could have lost.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.num_published = 0
        self.faults: list[str] = []
        self._unflushed: set[Path] = set()  # files, by content; folders, by the names in them

    def follow(self, calls: list[SystemCall]) -> None:
        """See calls in the order in which they ended."""
        for call in calls:
            if '"saved' in call.text.replace("\\", "") and self.folder in self._unflushed:
                self.faults.append(f"{call.text}: its name is not on the disk")
            if call.paths and call.paths[0].is_relative_to(self.folder):
                self._see(call, *call.paths)

    def _see(self, call: SystemCall, path: Path, new_path: Path | None = None) -> None:
        is_new = call.name in CREATING or (call.name in OPENING and "O_CREAT" in call.text)
        if call.name in FLUSHING:
            self._unflushed.discard(path)
        elif call.name in WRITING:
            self._unflushed.add(path)
        elif is_new:
            self._unflushed |= {path, path.parent}
        elif call.name in RENAMING and new_path is not None:
            self._rename(path, new_path)
        elif call.name in DELETING and ".saving-" not in str(path):
            self._delete(path)

    def _rename(self, path: Path, new_path: Path) -> None:
        if new_path.name.startswith("checkpoint-"):
            self.num_published += 1
            inside = sorted(str(one) for one in self._unflushed if one.is_relative_to(path))
            if inside:
                self.faults.append(f"{new_path.name} got its name with {inside} not on the disk")
        moved = {one for one in self._unflushed if one.is_relative_to(path)}
        self._unflushed -= moved
        self._unflushed |= {new_path / one.relative_to(path) for one in moved} | {new_path.parent}

    def _delete(self, path: Path) -> None:
        if self.folder in self._unflushed:
            self.faults.append(f"{path} is deleted, and what takes its place is not on the disk")

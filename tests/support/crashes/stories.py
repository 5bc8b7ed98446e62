"""A run that is killed, goes on, is killed again and ends: what has to hold all the while."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crashes.calls import Call
from crashes.folders import Promise, find_fault, leftovers_in
from crashes.nursery import Child, Nursery
from crashes.training import Run

KILLED = -9


@dataclass(frozen=True)
class Undisturbed:
    """How a run ends that nobody kills.

    Attributes:
        arguments: Those of the run.
        outcome: What it computed.
        seconds: How long it took.
        folder: Its folder.
    """

    arguments: dict[str, Any]
    outcome: dict[str, Any]
    seconds: float
    folder: Path


def run_undisturbed(nursery: Nursery, folder: Path, arguments: dict[str, Any]) -> Undisturbed:
    """Train from beginning to end, and keep all checkpoints: in another folder, as if moved."""
    begin = time.monotonic()
    child = nursery.start(Run(str(folder), {**arguments, "save_total_limit": None}))
    status = nursery.wait(child)
    assert status == 0, _log_of(folder)
    outcome = child.told("finished")[0]["outcome"]
    seconds = time.monotonic() - begin
    return Undisturbed(arguments, outcome, seconds, folder.rename(f"{folder}-ended"))


@dataclass
class Story:
    """One run, by one process after another.

    A copy of the folder as the last kill left it is kept beside it. Both go once the story has ended well.

    Args:
        nursery: Where processes come from.
        folder: The folder of the run. It may hold checkpoints.
        undisturbed: The same run, if nobody kills it.
        saved: Updates whose checkpoints are in the folder.
    """

    nursery: Nursery
    folder: Path
    undisturbed: Undisturbed
    saved: list[int] = field(default_factory=list)
    num_kills: int = 0
    history: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)

    @property
    def arguments(self) -> dict[str, Any]:
        """Those of the run."""
        return self.undisturbed.arguments

    def kill_at(self, call: Call, first_update: int, resume_from: str | None = None) -> bool:
        """Train; the process kills itself before a call on files, counted from an update on."""
        child = self.nursery.start(
            Run(str(self.folder), self.arguments, resume_from, first_update, call)
        )
        when = f"before {call.name} at {call.place}, number {call.ordinal} after update {first_update}"
        return self.observe(child, when, is_set_back=resume_from is not None)

    def kill_after(self, seconds: float) -> bool:
        """Train, and be killed after some time; return whether it was, and had not ended yet."""
        child = self.nursery.start(Run(str(self.folder), self.arguments))
        for _ in child.listen(seconds):
            pass
        child.kill()
        return self.observe(child, f"after {seconds:.4f} s")

    def kill_once_saved(self, update: int) -> bool:
        """Train, and be killed as soon as it is told that an update is saved."""
        child = self.nursery.start(Run(str(self.folder), self.arguments))
        for event in child.listen():
            if event == {"event": "saved", "step": update}:
                child.kill()
        return self.observe(child, f"once update {update} was saved")

    def finish(self) -> None:
        """Train to the end, and compare with the undisturbed run."""
        was_killed = self.observe(self.nursery.start(Run(str(self.folder), self.arguments)), "by nobody")
        assert not was_killed, self._explain("somebody else killed it")

    def observe(self, child: Child, when: str, is_set_back: bool = False) -> bool:
        """Wait for the end of a process, and look at what it left.

        Args:
            child: The process.
            when: How it is killed, for messages.
            is_set_back: It does not go on from the newest checkpoint, and need not.

        Returns:
            Whether it was killed.

        Raises:
            AssertionError: Something is lost, damaged or not exact.
        """
        status = self.nursery.wait(child)
        began = [told["step"] for told in child.told("began")]
        saved = [told["step"] for told in child.told("saved")]
        self.history.append(f"killed {when}: {status}, began at {began}, saved {saved}")
        assert status in (0, KILLED), self._explain(_log_of(self.folder))
        last = self.saved[-1] if self.saved else 0
        is_lost = began and began[0] < last and not is_set_back
        assert not is_lost, self._explain(f"it went on from {began}, and {last} was saved")
        self.saved += saved
        fault = find_fault(
            self.folder, Promise(tuple(self.saved), self.arguments.get("save_total_limit"))
        )
        assert fault is None, self._explain(fault)
        if status == KILLED:
            self.num_kills += 1
            self._take_snapshot()
            return True
        self._compare(child, has_saved=bool(saved))
        shutil.rmtree(self.folder)
        shutil.rmtree(self.snapshot, ignore_errors=True)
        return False

    @property
    def snapshot(self) -> Path:
        """The folder as the last kill left it."""
        return self.folder.with_name(f"{self.folder.name}-as-killed")

    def _take_snapshot(self) -> None:
        shutil.rmtree(self.snapshot, ignore_errors=True)
        shutil.copytree(self.folder, self.snapshot)

    def _compare(self, child: Child, has_saved: bool) -> None:
        outcome = child.told("finished")[0]["outcome"]
        for name, value in self.undisturbed.outcome.items():
            fault = f"{name} is {outcome[name]!r}; undisturbed {value!r}"
            assert outcome[name] == value, self._explain(fault)
        if has_saved:
            leftovers = leftovers_in(self.folder)
            assert not leftovers, self._explain(f"left over: {leftovers}")

    def _explain(self, what: str | None) -> str:
        lines = [f"{self.folder}: {what}", *self.history, f"arguments: {self.arguments}"]
        return "\n".join(lines)


def _log_of(folder: Path) -> str:
    """The end of what the processes printed."""
    return Path(f"{folder}.log").read_text(errors="replace")[-3000:]

"""System calls of a training process, seen or hit by strace: those that C++ and Rust make, too."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from crashes.nursery import Child

WRITING = {"write", "writev", "pwrite64", "ftruncate"}
OPENING = {"open", "openat"}
CREATING = {"creat", "mkdir", "mkdirat"}
RENAMING = {"rename", "renameat", "renameat2"}
DELETING = {"unlink", "unlinkat", "rmdir"}
FLUSHING = {"fsync", "fdatasync"}

_LINE = re.compile(r"(?P<thread>\d+) +(?P<name>\w+)\((?P<rest>.*)")
_RESUMED = re.compile(r"(?P<thread>\d+) +<\.\.\. (?P<name>\w+) resumed>(?P<rest>.*)")
_OF_DESCRIPTOR = re.compile(r"\d+<(?P<path>/[^>]*)>")
_QUOTED = re.compile(r'"(?P<path>/[^"]*)"')


@dataclass(frozen=True)
class SystemCall:
    """A system call that changes files.

    Attributes:
        name: Its name.
        ordinal: Calls of that name by the same thread, this one included.
        text: It with its parameters, as strace writes it.
    """

    name: str
    ordinal: int
    text: str

    @property
    def paths(self) -> list[Path]:
        """The file that it writes to, or the files that it names."""
        of_descriptor = _OF_DESCRIPTOR.match(self.text.removeprefix(f"{self.name}("))
        found = [of_descriptor["path"]] if of_descriptor else _QUOTED.findall(self.text)
        return [Path(path) for path in found]


def why_not() -> str | None:
    """Why no process can be traced here; None if one can."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    done = subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True, text=True)
    return f"strace may not trace: {done.stderr.strip()}" if done.returncode else None


@contextmanager
def traced(child: Child, log: Path, kill_at: SystemCall | None = None) -> Iterator[None]:
    """Trace a process that is not released yet, until it ends.

    Args:
        child: The process.
        log: Where strace writes the calls to.
        kill_at: A call that the process, all of its threads, is killed at the entrance of.
    """
    names = ",".join(
        f"?{name}" for name in WRITING | OPENING | CREATING | RENAMING | DELETING | FLUSHING
    )
    command = ["strace", "-f", "-y", "-o", str(log), "-p", str(child.pid), "-e", f"trace={names}"]
    if kill_at is not None:
        command += ["-e", f"inject={kill_at.name}:signal=KILL:when={kill_at.ordinal}"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as strace:
        assert strace.stderr is not None
        first = strace.stderr.readline()
        assert "attached" in first, first
        yield
        strace.stderr.read()


def read_calls(log: Path) -> list[SystemCall]:
    """What strace saw, in the order in which calls ended."""
    calls: list[SystemCall] = []
    counts: dict[tuple[str, str], int] = {}
    begun: dict[str, SystemCall] = {}
    for line in log.read_text(errors="replace").splitlines():
        match, resumed = _LINE.match(line), _RESUMED.match(line)
        if match is not None:
            key = match["thread"], match["name"]
            counts[key] = counts.get(key, 0) + 1
            call = SystemCall(match["name"], counts[key], f"{match['name']}({match['rest']}")
            if call.text.endswith("<unfinished ...>"):
                begun[match["thread"]] = call
            else:
                calls.append(call)
        elif resumed is not None and resumed["thread"] in begun:
            calls.append(begun.pop(resumed["thread"]))
    return calls

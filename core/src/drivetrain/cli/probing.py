"""Run the probe of one distribution in a process, and survive whatever happens in it."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO

from drivetrain.cli.states import key_of
from drivetrain_registry import Entry


@dataclass(frozen=True)
class Finding:
    """What came of loading one plugin.

    Attributes:
        detail: What is wrong with it; empty if nothing is.
        seconds: How long loading it took, what it imports first included.
        num_names: How many names it stands for: more than one for a family.
        missing: What it needs that is not installed; empty if nothing.
    """

    entry: Entry
    detail: str
    seconds: float
    num_names: int = 1
    missing: str = ""


class _ProbeEndedError(Exception):
    """The probe's process ended, or was ended, before it had reported everything."""

    def __init__(self, explanation: str, seconds: float) -> None:
        super().__init__(explanation)
        self.explanation = explanation
        self.seconds = seconds


def probe_distribution(entries: Sequence[Entry], timeout: float) -> Iterator[Finding]:
    """Load the entries of one distribution in a process; yield what came of each, as it comes.

    If the process crashes or hangs, the entry that it was at is at fault, and so are the others in the
    same module; for the rest a new process is started.

    Args:
        entries: Some or all entries of one distribution.
        timeout: Seconds that one entry may take.
    """
    waiting = list(entries)
    while waiting:
        try:
            for finding in _run_probe(tuple(waiting), timeout):
                yield finding
                waiting.remove(finding.entry)
        except _ProbeEndedError as error:
            culprit = waiting[0]
            for entry in [e for e in waiting if e.module == culprit.module]:
                yield Finding(entry, error.explanation, error.seconds if entry is culprit else 0.0)
                waiting.remove(entry)


def _run_probe(entries: Sequence[Entry], timeout: float) -> Iterator[Finding]:
    """Findings for the entries in their order.

    Raises:
        _ProbeEndedError: The process crashed or hung at the first entry that has no finding.
    """
    with tempfile.TemporaryFile() as errors, _start_probe(entries, errors) as process:
        lines = _read_lines(process)
        for entry in entries:
            started = time.perf_counter()
            try:
                line = lines.get(timeout=timeout)
            except queue.Empty:
                explanation = f"was still loading after {timeout:g} seconds."
                raise _ProbeEndedError(explanation, timeout) from None
            if line is None:
                seconds = round(time.perf_counter() - started, 3)
                raise _ProbeEndedError(_explain_end(process.wait(), errors), seconds)
            result = json.loads(line)
            assert result["key"] == key_of(entry)
            seconds = round(result["seconds"], 3)
            yield Finding(entry, result["detail"], seconds, result["num_names"], result["missing"])


@contextmanager
def _start_probe(entries: Sequence[Entry], errors: IO[bytes]) -> Iterator[subprocess.Popen[str]]:
    """The process; it and all that it started are gone at the end, also after Ctrl-C."""
    command = [sys.executable, "-m", "drivetrain.cli.probe", entries[0].distribution]
    process = subprocess.Popen(
        [*command, "--only", *map(key_of, entries)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=errors,
        encoding="utf-8",
        env=_make_environment(),
        start_new_session=True,
    )
    try:
        yield process
    finally:
        _end(process)


def _make_environment() -> dict[str, str]:
    """The probe searches where this process does, and not in the current folder because of ``-m``."""
    path = os.pathsep.join(folder or os.getcwd() for folder in sys.path)
    return {**os.environ, "PYTHONPATH": path, "PYTHONSAFEPATH": "1"}


def _end(process: subprocess.Popen[str]) -> None:
    if hasattr(os, "killpg"):
        with suppress(OSError):  # it is gone already
            os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()


def _read_lines(process: subprocess.Popen[str]) -> queue.Queue[str | None]:
    """The lines of the process's output as they come, then None."""
    lines: queue.Queue[str | None] = queue.Queue()

    def read() -> None:
        assert process.stdout is not None
        with process.stdout as output:
            for line in output:
                lines.put(line)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    return lines


def _explain_end(status: int, errors: IO[bytes]) -> str:
    errors.seek(0)
    said = errors.read().decode(errors="replace").strip().splitlines()
    last = f" Its last words: {said[-1]}" if said else ""
    if status < 0:
        return f"ended the process with {_name_signal(-status)} while it was loaded.{last}"
    return f"ended the process with status {status} while it was loaded.{last}"


def _name_signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"

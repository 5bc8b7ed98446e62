"""A process that has imported everything once and forks one for each training: a start takes no time."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crashes.training import Run

SUPPORT = Path(__file__).resolve().parents[1]
PATIENCE = 120.0
"""Seconds after which a process that says nothing is taken to hang."""

Event = dict[str, Any]


@dataclass
class Child:
    """A training process.

    Attributes:
        pid: Its id, which stays its own until `Nursery.wait`.
        events: What it has told so far.
    """

    pid: int
    pipe: int
    gate: int
    events: list[Event] = field(default_factory=list)
    rest: bytes = b""
    is_silent: bool = False

    def release(self) -> None:
        """Let it begin."""
        os.write(self.gate, b"g")
        os.close(self.gate)
        self.gate = -1

    def kill(self) -> None:
        """SIGKILL."""
        os.kill(self.pid, signal.SIGKILL)

    def listen(self, seconds: float = PATIENCE) -> Iterator[Event]:
        """What it tells, as it tells it, for some time at most.

        It falls silent when no process holds the pipe any more, its loading processes included.
        """
        end = time.monotonic() + seconds
        while (
            not self.is_silent and select.select([self.pipe], [], [], max(0, end - time.monotonic()))[0]
        ):
            chunk = os.read(self.pipe, 1 << 16)
            self.is_silent = not chunk
            *lines, self.rest = (self.rest + chunk).split(b"\n")
            told = [json.loads(line) for line in lines]
            self.events += told
            yield from told

    def told(self, event: str) -> list[Event]:
        """Everything of one sort that it has told."""
        return [told for told in self.events if told["event"] == event]

    def close(self) -> None:
        """Let go of the pipes."""
        os.close(self.pipe)
        if self.gate >= 0:
            os.close(self.gate)


class Nursery:
    """Where training processes come from. A context manager: when it is left, the forking process ends."""

    def __enter__(self) -> Nursery:
        self.socket, theirs = socket.socketpair()
        path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(SUPPORT)]))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "crashes.nursery", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        )
        theirs.close()
        self._receive()  # it is ready
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()
        self.process.wait(PATIENCE)

    def fork(self, run: Run) -> Child:
        """A process that will train once it is released."""
        (pipe, its_pipe), (its_gate, gate) = os.pipe(), os.pipe()
        socket.send_fds(self.socket, [run.to_json().encode()], [its_pipe, its_gate])
        os.close(its_pipe)
        os.close(its_gate)
        return Child(int(self._receive()), pipe, gate)

    def start(self, run: Run) -> Child:
        """A process that trains."""
        child = self.fork(run)
        child.release()
        return child

    def wait(self, child: Child) -> int:
        """Wait for the end of it and of its loading processes.

        Returns:
            Its exit status; minus the signal if one ended it.
        """
        for _ in child.listen():
            pass
        if not child.is_silent:
            raise RuntimeError(f"process {child.pid}, or a loading process of it, does not end")
        self.socket.send(str(child.pid).encode())
        status = int(self._receive())
        child.close()
        return status

    def _receive(self) -> bytes:
        ready, _, _ = select.select([self.socket], [], [], PATIENCE)
        answer = self.socket.recv(64) if ready else b""
        if not answer:
            raise RuntimeError("the process that forks others has ended, or hangs")
        return answer


def serve(connection: socket.socket) -> None:
    """Fork a process for each run that is sent, and wait for the one whose id is sent."""
    from crashes.training import Run, train_in_child

    while True:
        message, descriptors, _, _ = socket.recv_fds(connection, 1 << 16, 2)
        if not message:
            return
        if not descriptors:
            _, status = os.waitpid(int(message), 0)
            connection.send(str(os.waitstatus_to_exitcode(status)).encode())
            continue
        pid = os.fork()
        if pid == 0:
            connection.close()
            train_in_child(Run.from_json(message), *descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        connection.send(str(pid).encode())


def warm_up() -> None:
    """Train twice, in a folder that is gone afterwards: much is imported only then."""
    import tempfile

    from crashes.training import Run, train

    silence = os.open(os.devnull, os.O_WRONLY)
    with tempfile.TemporaryDirectory() as folder:
        run = Run(folder, {"eval_strategy": "epoch", "load_best_model_at_end": True})
        train(run, silence)
        train(run, silence)  # this one resumes
    os.close(silence)


if __name__ == "__main__":
    import torch

    torch.set_num_threads(1)
    output = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    warm_up()
    os.dup2(output, 1)
    connection = socket.socket(fileno=int(sys.argv[1]))
    connection.send(b"ready")
    serve(connection)
    os._exit(0)  # at once

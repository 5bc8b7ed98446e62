"""Reporters that note what arrives, and fail or wait wherever a test wants that."""

from __future__ import annotations

import json
import threading
import urllib.request
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from drivetrain import Trainer
from drivetrain.plugin import ReporterPlugin, Run

Act = Callable[[str, int], None]
"""What happens in a call before it arrives: given the method, and how many times that was called."""


class Fragile(ReporterPlugin):
    """Notes the calls that arrive, in order.

    Attributes:
        act: What happens first in each call.
        calls: What arrived: the method and what tells the call from others, such as the step.
        logged: The values and the step of each log that arrived.
        tries: How often each method was called.
        threads: Those that it was called in, after `prepare`.
    """

    act: Act
    calls: list[tuple[str, Any]]
    logged: list[tuple[int, dict[str, Any]]]
    tries: Counter[str]
    threads: set[threading.Thread]
    runs: list[Run]

    def open(self, run: Run) -> None:
        self._arrive("open", run.start_step)
        self.runs.append(run)

    def log(self, values: Mapping[str, Any], step: int) -> None:
        self._arrive("log", step)
        self.logged.append((step, dict(values)))

    def log_checkpoint(self, folder: Path, step: int) -> None:
        self._arrive("log_checkpoint", step)

    def log_model(self, folder: Path) -> None:
        self._arrive("log_model", folder.name)

    def close(self, outcome: str) -> None:
        self._arrive("close", outcome)

    def _arrive(self, method: str, what: Any) -> None:
        self.threads.add(threading.current_thread())
        self.tries[method] += 1
        type(self).act(method, self.tries[method])
        self.calls.append((method, what))


def make_fragile(act: Act = lambda method, time: None, **attributes: Any) -> type[Fragile]:
    """A reporter's class of its own, that notes what happens to all of its instances."""
    own = {"calls": [], "logged": [], "tries": Counter(), "threads": set(), "runs": []}
    return type("Fragile", (Fragile,), {"act": staticmethod(act), **own, **attributes})


def fail_in(where: str, times: Callable[[int], bool] = lambda time: True) -> Act:
    """Raise in a method, each time or at some."""

    def act(method: str, time: int) -> None:
        if method == where and times(time):
            raise ConnectionError("no such host")

    return act


def logs_of(trainer: Trainer) -> list[tuple[str, Any]]:
    """The calls of `log` that the trainer's history asks for."""
    return [("log", entry["step"]) for entry in trainer.state.log_history]


class Posting(ReporterPlugin):
    """Posts what it is told to the server at the option `url`, and waits for each answer for a second."""

    url = ""

    def open(self, run: Run) -> None:
        self._post("open", {"name": run.name})

    def log(self, values: Mapping[str, Any], step: int) -> None:
        self._post("log", {"step": step, **values})

    def close(self, outcome: str) -> None:
        self._post("close", {"outcome": outcome})

    def _post(self, path: str, value: Any) -> None:
        request = urllib.request.Request(f"{self.url}/{path}", json.dumps(value).encode())
        with urllib.request.urlopen(request, timeout=1) as answer:
            answer.read()

"""Reads back what the reporter `jsonl` wrote, as the one run that it was meant to be."""

from __future__ import annotations

import heapq
import json
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from drivetrain_torch.json_lines import FILE_NAME

_NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}

_IN_SUMMARIES = "train/train_runtime"
"""What is in the line with which `train` sums up, and in no other."""


def read_log(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """What a run logged, as if it had never been stopped and resumed.

    Where a run went on from step s, what had been logged past s is left out, and so is everything
    where one began anew: of several runs in a folder this is the last that trained. An evaluation
    on its own leaves out nothing. Of lines with the same names at the same step that a run wrote
    before and after it was opened again, the later is given, and where a run that had ended was
    extended, the summary of the first part is left out.

    Args:
        path: The file, or the folder that it is in.

    Returns:
        A dict for each log, in order: ``"step"``, ``"time"`` (seconds since 1970), ``"epoch"``, and the
        values by the names that every reporter gets, such as ``"train/loss"``. Numbers that were not
        finite are so again.

    Raises:
        OSError: The file cannot be read. Lines that are not whole, or not by this reporter, are
            passed over.
    """
    file = Path(path)
    reading = _Reading()
    for line in whole_lines(file / FILE_NAME if file.is_dir() else file):
        reading.take(line)
    return reading.result()


def whole_lines(file: Path) -> Iterator[dict[str, Any]]:
    """The lines of a file as they were written; those that are not whole, or not ours, are passed over."""
    with file.open("rb") as texts:
        for text in texts:
            try:
                line = json.loads(text)
            except (ValueError, RecursionError):  # cut off by a full disk or a power failure
                continue
            if isinstance(line, dict) and _is_ours(line):
                yield line


def _is_ours(line: dict[str, Any]) -> bool:
    return isinstance(line.get("session"), str) and type(line.get("step")) is int


def _restore(line: dict[str, Any]) -> None:
    """Put the numbers that were not finite back into a line."""
    words = line.pop("non_finite", None)
    for name, word in words.items() if isinstance(words, dict) else ():
        if isinstance(word, str) and word in _NOT_FINITE:
            line[name] = _NOT_FINITE[word]


@dataclass
class _Session:
    """What one reporter wrote.

    Attributes:
        start: The step that it began at, until it has gone past it.
        opening: Which of all openings its latest is.
        turn: How many sessions had gone on when it did, or when it began; if more have by now, they
            did so in its place.
    """

    start: float
    opening: int
    turn: int


@dataclass(slots=True)
class _Group:
    """The lines with the same step and names, with their numbers: all of one opening of a session."""

    session: _Session
    opening: int
    lines: list[tuple[int, dict[str, Any]]] = field(default_factory=list)


@dataclass
class _Reading:
    """What was read up to a line. A line is looked at when it comes and when it goes, in between not.

    Attributes:
        groups: By step and by names.
        steps: Those of `groups`, negative, as a heap: the last step comes first.
        names: Those of `groups`, each once.
        summaries: The steps and names of groups that sum up.
        num_turns: How often a session has gone on past its start.
    """

    sessions: dict[str, _Session] = field(default_factory=dict)
    groups: dict[int, dict[frozenset[str], _Group]] = field(default_factory=dict)
    steps: list[int] = field(default_factory=list)
    names: dict[frozenset[str], frozenset[str]] = field(default_factory=dict)
    summaries: set[tuple[int, frozenset[str]]] = field(default_factory=set)
    num_lines: int = 0
    num_turns: int = 0

    def take(self, line: dict[str, Any]) -> None:
        self.num_lines += 1
        name, event = line.pop("session"), line.pop("event", None)
        if event == "begin":
            self._begin(name, line["step"])
        elif event is None:
            self._take_log(self.sessions.get(name) or self._begin(name, line["step"]), line)

    def result(self) -> list[dict[str, Any]]:
        found = [
            numbered
            for at_step in self.groups.values()
            for group in at_step.values()
            for numbered in group.lines
        ]
        return [line for _, line in sorted(found, key=lambda numbered: numbered[0])]

    def _begin(self, name: str, step: int) -> _Session:
        session = self.sessions.setdefault(name, _Session(step, 0, self.num_turns))
        session.start, session.opening = step, self.num_lines
        return session

    def _take_log(self, session: _Session, line: dict[str, Any]) -> None:
        step = line["step"]
        if step > session.start:
            self._go_on(session)
        if session.turn < self.num_turns:
            return
        _restore(line)
        names = frozenset(line)
        names = self.names.setdefault(names, names)
        at_step = self._at(step)
        group = at_step.get(names)
        if group is None or group.opening != session.opening:
            group = at_step[names] = _Group(session, session.opening)
        group.lines.append((self.num_lines, line))
        if _IN_SUMMARIES in names:
            self.summaries.add((step, names))

    def _at(self, step: int) -> dict[frozenset[str], _Group]:
        if step not in self.groups:
            self.groups[step] = {}
            heapq.heappush(self.steps, -step)
        return self.groups[step]

    def _go_on(self, session: _Session) -> None:
        """A session trains past its start: what others logged beyond that did not lead here."""
        self.num_turns += 1
        session.turn = self.num_turns
        last = session.start if session.start > 0 else -math.inf
        session.start = math.inf
        for step, names in self.summaries:  # whoever summed up had not come to the end
            self.groups.get(step, {}).pop(names, None)
        self.summaries.clear()
        own: dict[int, dict[frozenset[str], _Group]] = {}
        while self.steps and -self.steps[0] > last:
            step = -heapq.heappop(self.steps)
            at_step = self.groups.pop(step)
            own[step] = {names: group for names, group in at_step.items() if group.session is session}
        for step, groups in own.items():
            if groups:
                self._at(step).update(groups)

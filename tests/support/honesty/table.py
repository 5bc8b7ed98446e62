"""What a row of the honesty table is, and how most rows are made."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from small import make_args, make_trainer

from drivetrain import Trainer, TrainingArguments, UsageError

Observe = Callable[[Trainer], Any]


@dataclass(frozen=True)
class Row:
    """An argument, a value that is not its default, and the check that setting it is seen.

    Attributes:
        name: The argument.
        value: The value.
        check: Makes what it needs with a `Case`, and asserts.
        words: How it is given on a command line.
        marks: Marks of pytest.
        cls: The dataclass that has the argument.
    """

    name: str
    value: Any
    check: Callable[[Case], None]
    words: tuple[str, ...]
    marks: tuple[pytest.MarkDecorator, ...] = ()
    cls: type[TrainingArguments] = TrainingArguments


@dataclass(frozen=True)
class Case:
    """One check of a row: trainers without the argument and with it, and pytest's tools."""

    row: Row
    beside: dict[str, Any]
    caplog: pytest.LogCaptureFixture
    capsys: pytest.CaptureFixture[str]
    monkeypatch: pytest.MonkeyPatch

    @property
    def setting(self) -> dict[str, Any]:
        """The argument with its value, as keywords."""
        return {self.row.name: self.row.value}

    @property
    def words(self) -> tuple[str, ...]:
        """The same on a command line."""
        return self.row.words if self.setting else ()

    def plain(self, **options: Any) -> Trainer:
        """A trainer without the argument; see `small.make_trainer` for the options."""
        return _make({"output_dir": "plain", **self.beside, **options})

    def changed(self, **options: Any) -> Trainer:
        """A trainer with the argument, and otherwise the same."""
        return _make({"output_dir": "changed", **self.beside, **options, **self.setting})

    def warnings(self, **options: Any) -> list[str]:
        """What is warned of when arguments are made."""
        self.caplog.clear()
        with self.caplog.at_level(logging.WARNING):
            make_args(**options)
        return [record.getMessage() for record in self.caplog.records]


def _make(options: dict[str, Any]) -> Trainer:
    """A trainer; a model that is given as a class is made with the same weights each time."""
    model = options.get("model")
    if isinstance(model, type):
        torch.manual_seed(7)
        options = {**options, "model": model()}
    return make_trainer(**options)


def words_of(name: str, value: Any) -> tuple[str, ...]:
    """How an argument is given on a command line."""
    if isinstance(value, dict):
        return f"--{name}", json.dumps(value)
    if isinstance(value, list):
        return f"--{name}", *map(str, value)
    return f"--{name}", str(value).lower() if isinstance(value, bool) else str(value)


def row(
    name: str, value: Any, *marks: pytest.MarkDecorator, **beside: Any
) -> Callable[[Callable[[Case], None]], Row]:
    """Make a row of the function below it. What is ``beside`` is set in both trainers."""

    def make(check: Callable[[Case], None]) -> Row:
        return Row(name, value, _beside(check, beside), words_of(name, value), marks)

    return make


def seen(
    name: str,
    value: Any,
    observe: Observe,
    before: Any,
    after: Any,
    *marks: pytest.MarkDecorator,
    **beside: Any,
) -> Row:
    """A row: what an observation of a trainer gives without the argument, and with it."""
    assert before != after, name

    def check(case: Case) -> None:
        assert observe(case.plain()) == before
        assert observe(case.changed()) == after

    return row(name, value, *marks, **beside)(check)


def warned(name: str, value: Any, text: str, **beside: Any) -> Row:
    """A row: one warning when the arguments are made, which has the text, and none without the argument."""

    def check(case: Case) -> None:
        assert case.warnings(**beside) == []
        said = case.warnings(**beside, **case.setting)
        assert len(said) == 1, said
        assert said[0].startswith(f"`{name}`: ")
        assert text in said[0]

    return row(name, value, **beside)(check)


def refused(name: str, value: Any, text: str, **beside: Any) -> Row:
    """A row: an error when the arguments are made, which has the text, and none without the argument."""

    def check(case: Case) -> None:
        make_args(**beside)
        with pytest.raises(UsageError) as caught:
            make_args(**beside, **case.setting)
        assert str(caught.value).startswith(f"`{name}`: ")
        assert text in str(caught.value)

    return row(name, value, **beside)(check)


def _beside(check: Callable[[Case], None], beside: dict[str, Any]) -> Callable[[Case], None]:
    def checked(case: Case) -> None:
        check(Case(case.row, beside, case.caplog, case.capsys, case.monkeypatch))

    return checked

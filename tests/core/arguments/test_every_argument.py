"""The honesty table: every argument has a row, and its effect is seen; see `tests/support/honesty`."""

from __future__ import annotations

import collections
import dataclasses
from typing import Any

import pytest
from honesty import ROWS
from honesty.table import Case, Row

from drivetrain import (
    HfArgumentParser,
    Seq2SeqTrainingArguments,
    TrainingArguments,
    UsageError,
)

FIELDS = {field.name: field for field in dataclasses.fields(Seq2SeqTrainingArguments)}

each_row = pytest.mark.parametrize(
    "row", [pytest.param(row, id=row.name, marks=row.marks) for row in ROWS]
)


def test_every_argument_has_one_row_and_every_row_is_of_an_argument() -> None:
    rows = collections.Counter(row.name for row in ROWS)
    assert rows == collections.Counter(list(FIELDS))


def test_a_row_of_each_dataclass_is_made_with_it() -> None:
    inherited = {field.name for field in dataclasses.fields(TrainingArguments)}
    for row in ROWS:
        assert row.cls is (TrainingArguments if row.name in inherited else Seq2SeqTrainingArguments)


@each_row
def test_setting_it_is_seen(
    row: Row,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    row.check(Case(row, {}, caplog, capsys, monkeypatch))


def outcome(make: Any, name: str) -> Any:
    """The arguments as data, and the one in question as it is; or what is said against it."""
    try:
        args = make()
    except UsageError as error:
        return str(error)
    values = args.to_dict()
    if name != "logging_dir":
        del values["logging_dir"]  # has the time in its name
    return values, getattr(args, name)


@each_row
def test_it_arrives_from_the_command_line_as_from_python(row: Row) -> None:
    parser = HfArgumentParser(row.cls, exit_on_error=False)
    given: dict[str, Any] = {"report_to": "none", "use_cpu": True, row.name: row.value}
    others = [
        word for name in ("report_to", "use_cpu") for word in (f"--{name}", given_word(given, name))
    ]
    line = [*others, *row.words]
    parsed = outcome(lambda: parser.parse_args_into_dataclasses(line)[0], row.name)
    assert parsed == outcome(lambda: row.cls(**given), row.name)


def given_word(given: dict[str, Any], name: str) -> str:
    value = given[name]
    return str(value[0] if isinstance(value, list) else value).lower()


@each_row
def test_it_is_not_set_by_default(row: Row) -> None:
    assert row.value != FIELDS[row.name].default
    args = (
        row.cls(report_to="none", use_cpu=True)
        if row.name not in ("report_to", "use_cpu")
        else row.cls()
    )
    assert args.is_default(row.name) or row.name in ("logging_dir", "run_name", "disable_tqdm")

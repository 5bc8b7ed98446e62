"""Names, defaults and order of the arguments are the published ones."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from honesty.published import OURS, PUBLISHED, PUBLISHED_ELSEWHERE, PUBLISHED_SEQ2SEQ

from drivetrain import Seq2SeqTrainingArguments, TrainingArguments
from drivetrain.arguments.spellings import OLD_SPELLINGS

ALL = {**PUBLISHED, **PUBLISHED_SEQ2SEQ, **PUBLISHED_ELSEWHERE}
FIELDS = {field.name: field for field in dataclasses.fields(Seq2SeqTrainingArguments)}


def default_of(name: str) -> Any:
    field = FIELDS[name]
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


@pytest.mark.parametrize("name", ALL)
def test_a_published_argument_is_an_argument_with_its_default_or_an_old_spelling(name: str) -> None:
    if name in OLD_SPELLINGS:
        assert name not in FIELDS
    else:
        default = default_of(name)
        assert (default, type(default)) == (ALL[name], type(ALL[name]))


def test_no_other_argument_is_there_than_published_ones_and_a_few_of_ours() -> None:
    assert set(FIELDS) - set(ALL) == OURS


def test_arguments_of_generation_are_those_of_sequence_to_sequence_models_alone() -> None:
    of_all = {field.name for field in dataclasses.fields(TrainingArguments)}
    assert set(FIELDS) - of_all == set(PUBLISHED_SEQ2SEQ)


def test_the_folder_is_the_argument_that_needs_no_name() -> None:
    assert next(iter(FIELDS)) == next(iter(PUBLISHED)) == "output_dir"
    assert TrainingArguments("out", report_to="none").output_dir == "out"


def test_defaults_that_depend_on_the_folder_are_the_published_ones() -> None:
    args = TrainingArguments("out")
    assert args.run_name == "out"
    assert str(args.logging_dir).startswith("out/runs/")
    assert args.report_to == "all"

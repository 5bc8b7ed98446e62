"""Old spellings: each has a row in `honesty.spellings`, is taken to what it means today, and is said."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import pytest
from honesty.spellings import OLD_ROWS, OldRow
from honesty.table import words_of

from drivetrain import ArgumentsError, HfArgumentParser, TrainingArguments, UsageError
from drivetrain.arguments.spellings import OLD_SPELLINGS

WORKING = [row for row in OLD_ROWS if not row.refused]
each_row = pytest.mark.parametrize("row", OLD_ROWS, ids=lambda row: row.name)
each_working_row = pytest.mark.parametrize("row", WORKING, ids=lambda row: row.name)


def make(**arguments: Any) -> TrainingArguments:
    return TrainingArguments("out", report_to="none", logging_dir="logs", **arguments)


def outcome(make: Any) -> Any:
    """The arguments as data, or what is said against them."""
    try:
        return make().to_dict()
    except UsageError as error:
        return str(error)


def test_every_old_spelling_has_one_row() -> None:
    assert sorted(row.name for row in OLD_ROWS) == sorted(OLD_SPELLINGS)


@each_row
def test_it_means_what_it_is_called_today(row: OldRow) -> None:
    old = outcome(lambda: make(**row.beside, **{row.name: row.value}))
    assert old == outcome(lambda: make(**{**row.beside, **row.today}))
    if row.refused:
        assert old.startswith(row.refused)
    elif row.today and row.name != "fp16_backend":
        assert old != make(**row.beside).to_dict()


@each_working_row
def test_one_warning_names_the_new_spelling(row: OldRow, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        make(**row.beside, **{row.name: row.value})
    said = [text for text in caplog.messages if text.startswith(f"`{row.name}`: ")]
    assert len(said) == 1
    if not row.today:
        assert "has no effect: " in said[0]
    for name in row.today:
        assert f"the name today is `{name}`. Type {name}=" in said[0]
    assert "hf_secret" not in caplog.text


@each_working_row
def test_it_can_be_read(row: OldRow) -> None:
    assert getattr(make(**row.beside, **{row.name: row.value}), row.name) == row.read
    today = make(**{**row.beside, **row.today})
    assert getattr(today, row.name) == row.read
    assert row.name not in today.to_dict()


@each_row
def test_it_is_a_flag_on_the_command_line(row: OldRow) -> None:
    parser = HfArgumentParser(TrainingArguments, exit_on_error=False)
    line = ["--output_dir", "out", "--report_to", "none", "--logging_dir", "logs"]
    words = [word for name, value in row.beside.items() for word in words_of(name, value)]
    words += words_of(row.name, row.value)
    parsed = outcome(lambda: parser.parse_args_into_dataclasses([*line, *words])[0])
    assert parsed == outcome(lambda: make(**{**row.beside, **row.today}))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"evaluation_strategy": "epoch", "eval_strategy": "steps"},
            "`evaluation_strategy`: 'epoch' contradicts `eval_strategy`='steps', which is the name today.",
        ),
        (
            {"split_batches": True, "accelerator_config": {"split_batches": False}},
            "`split_batches`: True contradicts `accelerator_config`=",
        ),
        (
            {"push_to_hub_organization": "team", "hub_model_id": "me/net"},
            "`push_to_hub_organization`: 'team' contradicts `hub_model_id`='me/net'",
        ),
        (
            {"push_to_hub_token": "hf_secret", "hub_token": "hf_other"},
            "`push_to_hub_token`: ... contradicts `hub_token`=..., which is the name today.",
        ),
    ],
)
def test_an_old_spelling_that_contradicts_the_new_one_is_refused(
    given: dict[str, Any], message: str
) -> None:
    with pytest.raises(ArgumentsError) as caught:
        make(**given)
    assert str(caught.value).startswith(message)
    assert len(caught.value.problems) == 1


def test_an_old_spelling_beside_the_new_one_that_says_the_same_is_fine() -> None:
    assert make(evaluation_strategy="epoch", eval_strategy="epoch").eval_strategy == "epoch"


def test_an_old_spelling_that_is_left_at_none_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    make(**dict.fromkeys(OLD_SPELLINGS))
    assert caplog.messages == []


def test_old_values_mean_what_they_did() -> None:
    assert outcome(lambda: make(sharded_ddp=True)) == outcome(lambda: make(fsdp="shard_grad_op"))
    assert outcome(lambda: make(sharded_ddp="")) == outcome(make)
    for name in ("hub_model_id", "push_to_hub_model_id"):
        assert make(push_to_hub_organization="team", **{name: "net"}).hub_model_id == "team/net"


@dataclass
class Mine(TrainingArguments):
    """Arguments of a user's own, some of them under names that were arguments once."""

    lr: float = 0.25
    rank: int = 4


def test_a_field_of_ones_own_comes_before_an_old_spelling() -> None:
    assert Mine("out", lr=0.5, report_to="none").lr == 0.5
    assert Mine("out", lr=0.5, report_to="none").learning_rate == 5e-5
    assert Mine("out", report_to="none").lr == 0.25


def test_a_dataclass_of_ones_own_takes_old_spellings(caplog: pytest.LogCaptureFixture) -> None:
    old: dict[str, Any] = {"per_gpu_train_batch_size": 2}
    args = Mine("out", report_to="none", rank=8, **old)
    assert (args.rank, args.per_device_train_batch_size) == (8, 2)
    assert "`per_gpu_train_batch_size`: the name today is" in caplog.text


def test_a_keyword_that_never_was_an_argument_is_an_error() -> None:
    with pytest.raises(
        UsageError, match=r"(?s)2 problems.*`lerning_rate`: there is no such argument.*'learning_rate'"
    ):
        make(lerning_rate=1.0, seed=-1)
    with pytest.raises(
        AttributeError, match=r"'TrainingArguments' object has no attribute 'lerning_rate'"
    ):
        _ = make().lerning_rate

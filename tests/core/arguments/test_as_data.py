"""Arguments as data: dicts, JSON, pickles, copies, and dataclasses derived from them."""

from __future__ import annotations

import copy
import dataclasses
import json
import logging
import pickle
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from honesty import ROWS
from honesty.table import Row

from drivetrain import (
    AcceleratorConfig,
    ArgumentsError,
    DebugOption,
    HfArgumentParser,
    HubStrategy,
    IntervalStrategy,
    OptimizerNames,
    SchedulerType,
    Seq2SeqTrainingArguments,
    TrainingArguments,
    UsageError,
)


def make(**arguments: Any) -> TrainingArguments:
    return TrainingArguments("out", **{"use_cpu": True, "report_to": "none", **arguments})


RICH: dict[str, Any] = {
    "eval_strategy": IntervalStrategy.EPOCH,
    "hub_strategy": HubStrategy.END,
    "optim": OptimizerNames.SGD,
    "lr_scheduler_type": SchedulerType.COSINE,
    "lr_scheduler_kwargs": {"num_cycles": 1.0},
    "accelerator_config": AcceleratorConfig(use_seedable_sampler=False),
    "debug": [DebugOption.UNDERFLOW_OVERFLOW],
    "label_names": ["labels"],
    "hub_token": "hf_secret",
    "plugins": ["honesty.training.Counting"],
}


def test_a_dict_has_every_argument_as_json_with_enums_by_value_and_tokens_by_name() -> None:
    values = make(**RICH).to_dict()
    assert list(values) == [field.name for field in dataclasses.fields(TrainingArguments)]
    assert json.loads(json.dumps(values)) == values
    shown = {name: values[name] for name in RICH}
    assert shown == {
        "eval_strategy": "epoch",
        "hub_strategy": "end",
        "optim": "sgd",
        "lr_scheduler_type": "cosine",
        "lr_scheduler_kwargs": {"num_cycles": 1.0},
        "accelerator_config": AcceleratorConfig(use_seedable_sampler=False).to_dict(),
        "debug": ["underflow_overflow"],
        "label_names": ["labels"],
        "hub_token": "<HUB_TOKEN>",
        "plugins": ["honesty.training.Counting"],
    }
    assert all(type(values[name]) is str for name in ("eval_strategy", "hub_strategy", "optim"))


def test_json_is_that_dict() -> None:
    args = make(**RICH)
    text = args.to_json_string()
    assert json.loads(text) == args.to_dict()
    assert '\n  "output_dir": "out",\n' in text
    assert "hf_secret" not in text


def test_a_token_of_an_old_spelling_or_of_ones_own_is_obscured_too() -> None:
    @dataclass
    class Mine(TrainingArguments):
        data_token: str | None = None

    old: dict[str, Any] = {"push_to_hub_token": "hf_secret"}
    args = Mine("out", report_to="none", data_token="abc", **old)
    values = args.to_dict()
    assert (values["hub_token"], values["data_token"]) == ("<HUB_TOKEN>", "<DATA_TOKEN>")
    assert make().to_dict()["hub_token"] is None


def test_what_hyper_parameter_tables_get_is_plain() -> None:
    args = make(**RICH)
    sanitized = args.to_sanitized_dict()
    assert list(sanitized) == list(args.to_dict())
    assert all(type(value) in (bool, int, float, str) for value in sanitized.values())
    assert sanitized["label_names"] == "['labels']"
    assert sanitized["max_steps"] == -1
    assert sanitized["optim_args"] == "None"
    assert sanitized["hub_token"] == "<HUB_TOKEN>"


CANNOT_BE_SET_ALONE = {
    "dataloader_persistent_workers",
    "dataloader_prefetch_factor",
    "deepspeed",
    "early_stopping_patience",
    "fsdp",
    "load_best_model_at_end",
    "lr_scheduler_kwargs",
    "reporter_args",
    "tpu_num_cores",
    "use_liger_kernel",
}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_dict_makes_the_same_arguments_again(row: Row) -> None:
    try:
        args = row.cls(
            **{"output_dir": "out", "use_cpu": True, "report_to": "none", row.name: row.value}
        )
    except UsageError:  # on this machine, or without another argument
        assert row.name in CANNOT_BE_SET_ALONE
        return
    again = row.cls(**json.loads(args.to_json_string()))
    assert again.to_dict() == args.to_dict()
    if row.name != "hub_token":
        assert getattr(again, row.name) == getattr(args, row.name)


def test_defaults_make_the_same_arguments_again_and_stay_defaults() -> None:
    args = TrainingArguments()
    again = TrainingArguments(**args.to_dict())
    assert again == args
    assert all(again.is_default(f.name) for f in dataclasses.fields(args) if args.is_default(f.name))


def test_pickles_are_the_same_arguments() -> None:
    args = make(**RICH)
    assert str(args.device) == "cpu"  # makes the strategy, which belongs to its process
    again = pickle.loads(pickle.dumps(args))
    assert again == args
    assert again.hub_token == "hf_secret"
    assert str(again.device) == "cpu"
    assert again.strategy_plugin is not args.strategy_plugin
    assert copy.deepcopy(args) == args
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = again.nothing


def test_the_error_of_several_problems_can_be_pickled() -> None:
    with pytest.raises(ArgumentsError) as caught:
        make(learning_rate=-1.0, seed=-1)
    again = pickle.loads(pickle.dumps(caught.value))
    assert str(again) == str(caught.value)
    assert again.problems == caught.value.problems


def test_a_copy_with_other_values_is_completed_and_checked() -> None:
    args = make(eval_strategy="steps")
    other = dataclasses.replace(args, learning_rate=0.5, save_strategy="epoch")
    assert (other.learning_rate, str(other.save_strategy), other.eval_steps) == (0.5, "epoch", 500)
    assert args.learning_rate == 5e-5
    with pytest.raises(UsageError, match="`learning_rate`: -1"):
        dataclasses.replace(args, learning_rate=-1)


@dataclass
class Mine(TrainingArguments):
    """A user's own: another default, and fields besides."""

    learning_rate: float = 3e-4
    rank: int = field(default=8, metadata={"help": "Size of the adapter."})
    layers: list[int] = field(default_factory=lambda: [1, 2])

    def __post_init__(self) -> None:
        super().__post_init__()
        self.alpha = 2 * self.rank


def test_a_dataclass_derived_from_them_has_its_own_fields_and_defaults() -> None:
    args = Mine("out", rank=4, report_to="none")
    assert (args.rank, args.layers, args.learning_rate, args.alpha) == (4, [1, 2], 3e-4, 8)
    values = args.to_dict()
    assert (values["rank"], values["layers"], values["optim"]) == (4, [1, 2], "adamw_torch")
    assert args.is_default("learning_rate")
    assert not args.is_default("rank")
    assert Mine(**values).to_dict() == values
    assert pickle.loads(pickle.dumps(args)).alpha == 8
    with pytest.raises(UsageError, match="`rank`: 'four' is no int"):
        Mine("out", rank="four", report_to="none")  # type: ignore[arg-type]


def test_a_dataclass_derived_from_them_is_on_the_command_line() -> None:
    line = "--output_dir out --report_to none --rank 2 --layers 3 4 --evaluation_strategy epoch"
    (args,) = HfArgumentParser(Mine).parse_args_into_dataclasses(line.split())
    assert (args.rank, args.layers, args.eval_strategy) == (2, [3, 4], "epoch")
    assert args.learning_rate == 3e-4


def test_a_generation_configuration_that_is_an_object_is_in_the_dict(tmp_path: Path) -> None:
    class Config:
        def to_dict(self) -> dict[str, Any]:
            return {"num_beams": 2}

    args = Seq2SeqTrainingArguments(str(tmp_path), report_to="none", generation_config=Config())
    assert args.to_dict()["generation_config"] == {"num_beams": 2}
    assert json.loads(args.to_json_string())["generation_config"] == {"num_beams": 2}


def test_nothing_is_said_of_arguments_that_are_made_again(caplog: pytest.LogCaptureFixture) -> None:
    args = make(eval_strategy="epoch", load_best_model_at_end=True, save_strategy="epoch")
    with caplog.at_level(logging.WARNING):
        TrainingArguments(**args.to_dict())
    assert caplog.messages == []

"""`TrainingArguments`: defaults, completion, and everything that is refused when they are made."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from drivetrain import ArgumentsError, IntervalStrategy, SaveStrategy, TrainingArguments


def make(**arguments: Any) -> TrainingArguments:
    return TrainingArguments("out", **{"use_cpu": True, "report_to": "none", **arguments})


def test_a_folder_that_is_left_out_has_a_name() -> None:
    assert TrainingArguments().output_dir == "trainer_output"
    assert TrainingArguments(None).output_dir == "trainer_output"  # type: ignore[arg-type]


def test_defaults_that_depend_on_others_are_filled_in() -> None:
    args = make(eval_strategy="steps", logging_steps=7)
    assert args.eval_steps == 7
    assert args.run_name == "out"
    assert args.logging_dir is not None
    assert args.logging_dir.startswith("out/runs/")
    assert args.metric_for_best_model is None
    best = make(load_best_model_at_end=True, eval_strategy="epoch", save_strategy="epoch")
    assert (best.metric_for_best_model, best.greater_is_better) == ("loss", False)
    assert make(metric_for_best_model="accuracy").greater_is_better is True
    assert make(metric_for_best_model="eval_loss").greater_is_better is False


def test_strategies_are_enums_that_equal_their_text() -> None:
    args = make(eval_strategy="epoch", save_strategy=SaveStrategy.BEST)
    assert args.eval_strategy is IntervalStrategy.EPOCH
    assert args.save_strategy == "best"
    assert str(args.save_strategy) == "best"


def test_warmup_steps_come_before_the_ratio() -> None:
    assert make(warmup_ratio=0.1).get_warmup_steps(95) == 10
    assert make(warmup_ratio=0.1, warmup_steps=3).get_warmup_steps(95) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"per_device_train_batch_size": 0},
            r"`per_device_train_batch_size`: 0 is no whole number from 1 up",
        ),
        ({"gradient_accumulation_steps": 1.5}, r"`gradient_accumulation_steps`: 1.5 is no whole number"),
        ({"learning_rate": -1}, r"`learning_rate`: -1 is no number from 0 up"),
        ({"learning_rate": "1e-4"}, r"`learning_rate`: '1e-4' is no number.*without quotes"),
        ({"weight_decay": float("nan")}, r"`weight_decay`: nan is no number from 0 up"),
        ({"warmup_steps": 0.1}, r"`warmup_steps`: 0.1 is no whole number from 0 up"),
        ({"adam_beta1": 1}, r"`adam_beta1`: 1 is not in \[0, 1\)"),
        ({"warmup_ratio": 2}, r"`warmup_ratio`: 2 is not in \[0, 1\]"),
        ({"logging_steps": 1.5}, r"`logging_steps`: 1.5 is neither a whole number.*logging_steps=500"),
        ({"save_steps": 0}, r"`save_steps`: 0 is neither"),
        ({"save_total_limit": 0}, r"`save_total_limit`: 0 is no whole number from 1 up"),
        ({"num_train_epochs": 0}, r"`num_train_epochs`: 0 trains nothing"),
        ({"num_train_epochs": "3"}, r"`num_train_epochs`: '3' is no number that says how long"),
        ({"num_train_epochs": float("nan")}, r"`num_train_epochs`: nan is no number"),
        ({"max_steps": None}, r"`max_steps`: None is no number"),
        ({"max_steps": 10.5}, r"`max_steps`: 10.5 is no number"),
        ({"logging_steps": float("inf")}, r"`logging_steps`: inf is neither"),
        (
            {"eval_strategy": "sometimes"},
            r"`eval_strategy`: 'sometimes' is no strategy. Allowed: 'no', 'steps', 'epoch'",
        ),
        ({"save_strategy": "worst"}, r"`save_strategy`: 'worst' .* 'best'"),
    ],
)
def test_values_that_cannot_work_are_refused_with_what_to_type(
    arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        make(**arguments)


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(ArgumentsError) as caught:
        make(learning_rate=-1, optim="adamw_troch", lr_scheduler_type="cosin", fp16=True, bf16=True)
    assert len(caught.value.problems) == 4
    text = str(caught.value)
    assert text.startswith("4 problems with the arguments:\n1. ")
    for part in ("`learning_rate`", "`fp16`", "'adamw_torch'", "'cosine'"):
        assert part in text


def test_a_part_is_not_asked_about_arguments_that_are_wrong_in_themselves() -> None:
    with pytest.raises(ArgumentsError) as caught:
        make(gradient_accumulation_steps="four", optim="galore_adamw_layerwise")
    assert "`gradient_accumulation_steps`: 'four'" in str(caught.value)


def test_an_argument_that_an_optimizer_has_no_use_for_is_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    make(optim="sgd", adam_beta2=0.95)
    assert caplog.text.count("`adam_beta2`: 0.95 has no effect with `optim`='sgd'") == 1
    caplog.clear()
    make(optim="sgd")
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"eval_steps": 10}, "`eval_steps`: 10 has no effect with `eval_strategy`='no'"),
        ({"save_steps": 10, "save_strategy": "epoch"}, "`save_steps`: 10 has no effect"),
        ({"logging_steps": 10, "logging_strategy": "no"}, "`logging_steps`: 10 has no effect"),
        ({"optim_target_modules": "all-linear"}, "`optim_target_modules`: 'all-linear' has no effect"),
    ],
)
def test_an_argument_that_nothing_goes_by_is_said(
    arguments: dict[str, Any], message: str, caplog: pytest.LogCaptureFixture
) -> None:
    make(**arguments)
    assert message in caplog.text
    caplog.clear()
    make(eval_strategy="steps", logging_strategy="no", logging_steps=5)
    assert caplog.text == ""


def test_the_arguments_as_data() -> None:
    args = make(
        eval_strategy="epoch",
        lr_scheduler_type="cosine",
        lr_scheduler_kwargs={"num_cycles": 1.0},
        label_names=["labels"],
    )
    values = args.to_dict()
    assert json.loads(args.to_json_string()) == values
    assert values["eval_strategy"] == "epoch"
    sanitized = args.to_sanitized_dict()
    assert sanitized["label_names"] == "['labels']"
    assert TrainingArguments(**values).to_dict() == values


def test_is_default_tells_what_was_left_out() -> None:
    args = make(learning_rate=1e-3)
    assert args.is_default("adam_beta1")
    assert args.is_default("lr_scheduler_kwargs")
    assert not args.is_default("learning_rate")


def test_bars_are_off_where_the_log_level_asks_for_quiet() -> None:
    logger = logging.getLogger("drivetrain")
    assert make().disable_tqdm is False
    logger.setLevel(logging.ERROR)
    try:
        assert make().disable_tqdm is True
    finally:
        logger.setLevel(logging.NOTSET)


def test_every_argument_is_documented() -> None:
    import dataclasses

    for field in dataclasses.fields(TrainingArguments):
        assert len(field.metadata["help"]) > 10, field.name

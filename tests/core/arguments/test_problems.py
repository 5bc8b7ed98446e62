"""What cannot work, and what has no effect: found when arguments are made, all of it at once."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from small import are_equal, make_args, make_trainer, weights_of

from drivetrain import ArgumentsError, Seq2SeqTrainingArguments, TrainingArguments, UsageError


def make(**arguments: Any) -> TrainingArguments:
    return TrainingArguments("out", **{"use_cpu": True, "report_to": "none", **arguments})


def test_several_problems_of_every_sort_are_one_error_that_numbers_them() -> None:
    with pytest.raises(ArgumentsError) as caught:
        make(
            per_gpu_train_batch_size=2,
            per_device_train_batch_size=4,
            accelerator_config={"split": True},
            do_train="perhaps",
            adam_beta1=1.5,
            save_strategy="sometimes",
            fp16=True,
            bf16=True,
            optim="adamw_troch",
            report_to="tensorbord",
        )
    starts = [
        "`per_gpu_train_batch_size`: 2 contradicts",
        "`accelerator_config`: 'split' is none of its keys",
        "`do_train`: 'perhaps' is no bool",
        "`adam_beta1`: 1.5 is not in",
        "`save_strategy`: 'sometimes' is no strategy",
        "`fp16`: True contradicts",
        "`optim`: 'adamw_troch' is not installed",
        "`report_to`: 'tensorbord' is not installed",
    ]
    problems = caught.value.problems
    assert len(problems) == len(starts)
    for start in starts:
        assert sum(problem.startswith(start) for problem in problems) == 1, start
    lines = str(caught.value).splitlines()
    assert lines[0] == "8 problems with the arguments:"
    assert [line.partition(" ")[0] for line in lines[1:]] == [f"{n}." for n in range(1, 9)]


def test_problems_of_parts_are_told_with_one_another() -> None:
    with pytest.raises(ArgumentsError) as caught:
        make(
            optim="galore_adamw_layerwise",
            optim_target_modules="all-linear",
            gradient_accumulation_steps=2,
            lr_scheduler_type="reduce_lr_on_plateau",
            tf32=True,
        )
    text = str(caught.value)
    for name in ("`optim`", "`lr_scheduler_type`", "`tf32`: True is for NVIDIA GPUs"):
        assert name in text
    assert "`gradient_accumulation_steps`" in text


CONTRADICTIONS: list[tuple[dict[str, Any], str]] = [
    ({"fp16": True, "bf16": True}, "`fp16`: True contradicts `bf16`=True"),
    ({"bf16": True, "precision": "no"}, "`precision`: 'no' contradicts `bf16`=True"),
    ({"fp16_full_eval": True, "bf16_full_eval": True}, "`fp16_full_eval`: True contradicts"),
    ({"early_stopping_patience": 2}, "`early_stopping_patience`: 2 needs evaluations"),
    ({"load_best_model_at_end": True}, "`load_best_model_at_end`: True needs evaluations to find"),
    ({"save_strategy": "best"}, "`save_strategy`: 'best' needs evaluations"),
    (
        {"load_best_model_at_end": True, "eval_strategy": "epoch", "save_strategy": "no"},
        "`load_best_model_at_end`: True needs a checkpoint",
    ),
    (
        {"plugins": ["honesty.training.Counting"] * 2},
        "`plugins`: 'honesty.training.Counting' stands there more than once",
    ),
    (
        {"batch_eval_metrics": True, "prediction_loss_only": True},
        "`batch_eval_metrics`: True needs predictions",
    ),
    (
        {"batch_eval_metrics": True, "eval_do_concat_batches": False},
        "`eval_do_concat_batches`: False keeps all batches",
    ),
    ({"dataloader_prefetch_factor": 2}, "`dataloader_prefetch_factor`: 2 needs loading processes"),
    ({"dataloader_persistent_workers": True}, "`dataloader_persistent_workers`: True needs loading"),
    ({"debug": "tpu_metrics_debug"}, "`debug`: 'tpu_metrics_debug' prints metrics of torch_xla"),
    (
        {
            "gradient_accumulation_steps": 2,
            "accelerator_config": {"gradient_accumulation_kwargs": {"num_steps": 4}},
        },
        "`gradient_accumulation_steps`: 2 contradicts `accelerator_config`",
    ),
    (
        {"accelerator_config": {"gradient_accumulation_kwargs": {"sync_each_batch": True}}},
        "`accelerator_config`: gradient_accumulation_kwargs has 'sync_each_batch'",
    ),
    (
        {
            "optim": "galore_adamw_layerwise",
            "optim_target_modules": "all-linear",
            "gradient_accumulation_steps": 2,
            "max_grad_norm": 0.0,
        },
        "`gradient_accumulation_steps`: ",
    ),
    ({"lr_scheduler_type": "reduce_lr_on_plateau"}, "`lr_scheduler_type`: "),
    ({"torch_compile_backend": "eager", "jit_mode_eval": True}, "`torch_compile`: True contradicts"),
    ({"past_index": 1, "jit_mode_eval": True}, "`past_index`: 1 hands states from batch to batch"),
]


@pytest.mark.parametrize(("arguments", "start"), CONTRADICTIONS, ids=lambda value: str(value)[:60])
def test_a_contradiction_is_one_error(arguments: dict[str, Any], start: str) -> None:
    with pytest.raises(UsageError) as caught:
        make(**arguments)
    assert str(caught.value).startswith(start)


def test_a_backend_that_contradicts_the_precision_is_refused() -> None:
    with pytest.raises(ArgumentsError) as caught:
        make(half_precision_backend="apex", precision="bf16")
    start = "`half_precision_backend`: 'apex' contradicts `precision`='bf16'"
    assert caught.value.problems[0].startswith(start)


def test_two_ways_to_shard_a_model_contradict_each_other() -> None:
    with pytest.raises(ArgumentsError) as caught:
        make(deepspeed={"zero_optimization": {"stage": 2}}, fsdp="full_shard")
    assert "`deepspeed`: contradicts `fsdp`" in caught.value.problems[0]


WRONG_VALUES: list[tuple[dict[str, Any], str]] = [
    ({"ddp_timeout": 0}, "`ddp_timeout`: 0 is no whole number from 1 up"),
    ({"eval_accumulation_steps": True}, "`eval_accumulation_steps`: True is no whole number from 1 up"),
    (
        {"early_stopping_patience": 0, "eval_strategy": "epoch"},
        "`early_stopping_patience`: 0 is no whole number from 1 up",
    ),
    ({"seed": -1}, "`seed`: -1 is no whole number from 0 up"),
    ({"max_grad_norm": -1.0}, "`max_grad_norm`: -1.0 is no number from 0 up"),
    ({"eval_delay": -1, "eval_strategy": "steps"}, "`eval_delay`: -1 is no number from 0 up"),
    ({"label_smoothing_factor": 1.5}, "`label_smoothing_factor`: 1.5 is not in [0, 1]"),
    ({"neftune_noise_alpha": 0.0}, "`neftune_noise_alpha`: 0.0 is no number above 0"),
    ({"past_index": -2}, "`past_index`: -2 is no index of an output"),
    ({"eval_steps": 1.5, "eval_strategy": "steps"}, "`eval_steps`: 1.5 is neither a whole number"),
    ({"log_level": "loud"}, "`log_level`: 'loud' is none of its values. Allowed: 'detail', 'debug'"),
    ({"log_level_replica": "loud"}, "`log_level_replica`: 'loud' is none of its values"),
    ({"ddp_backend": "glu"}, "`ddp_backend`: 'glu' is none of its values. Allowed: 'nccl'"),
    ({"fp16_opt_level": "O9"}, "`fp16_opt_level`: 'O9' is none of its values"),
    ({"half_precision_backend": "amp"}, "`half_precision_backend`: 'amp' is none of its values"),
    ({"ray_scope": "best"}, "`ray_scope`: 'best' is none of its values"),
    (
        {"hub_strategy": "always"},
        "`hub_strategy`: 'always' is no strategy. Allowed: 'end', 'every_save'",
    ),
    ({"include_for_metrics": ["labels"]}, "`include_for_metrics`: 'labels' is none of its members"),
    (
        {"include_num_input_tokens_seen": "some"},
        "`include_num_input_tokens_seen`: 'some' is none of its values. Allowed: 'all', 'non_padding', 'no'",
    ),
    ({"fsdp": "half_shard"}, "`fsdp`: 'half_shard' is not among its options. Allowed: 'full_shard'"),
    ({"debug": "everything"}, "`debug`: 'everything' is not among its options"),
    (
        {"gradient_checkpointing_kwargs": "no json"},
        "`gradient_checkpointing_kwargs`: 'no json' cannot be",
    ),
    ({"liger_kernel_config": "[1]"}, "`liger_kernel_config`: '[1]' cannot be read"),
    ({"accelerator_config": "gone.json"}, "`accelerator_config`: 'gone.json' cannot be read"),
    ({"data_seed": 1.5}, "`data_seed`: 1.5 is no int | None"),
    ({"label_names": "y"}, "`label_names`: 'y' is no list[str] | None. Type label_names=['y']"),
    ({"group_by_length": "yes"}, "`group_by_length`: 'yes' is no bool. Type group_by_length=True or"),
]


@pytest.mark.parametrize(("arguments", "start"), WRONG_VALUES, ids=lambda value: str(value)[:60])
def test_a_value_that_cannot_be_is_refused(arguments: dict[str, Any], start: str) -> None:
    with pytest.raises(UsageError) as caught:
        make(**arguments)
    assert start in str(caught.value)


@pytest.mark.parametrize("name", ["generation_max_length", "generation_num_beams"])
def test_what_is_generated_has_a_length_and_beams(name: str) -> None:
    given: dict[str, Any] = {"predict_with_generate": True, name: 0}
    with pytest.raises(UsageError, match=f"^`{name}`: 0 is no whole number from 1 up"):
        Seq2SeqTrainingArguments("out", report_to="none", **given)


HUB = {
    "hub_model_id": "me/net",
    "hub_strategy": "end",
    "hub_token": "hf_secret",
    "hub_private_repo": True,
    "hub_always_push": True,
    "hub_revision": "draft",
}
IDLE: list[tuple[dict[str, Any], str]] = [
    ({"logging_strategy": "no", "logging_steps": 3}, "`logging_steps`: 3 has no effect with"),
    ({"eval_steps": 3}, "`eval_steps`: 3 has no effect with `eval_strategy`='no'"),
    ({"save_strategy": "epoch", "save_steps": 3}, "`save_steps`: 3 has no effect with"),
    *(({name: value}, f"`{name}`: ") for name, value in HUB.items()),
    (
        {"gradient_checkpointing_kwargs": {"use_reentrant": True}},
        "`gradient_checkpointing_kwargs`: {'use_reentrant': True} has no effect without",
    ),
    (
        {"liger_kernel_config": {"rope": True}},
        "`liger_kernel_config`: {'rope': True} has no effect without",
    ),
    ({"length_column_name": "n"}, "`length_column_name`: 'n' has no effect without `group_by_length`"),
    (
        {"fsdp_config": {"min_num_params": 1}},
        "`fsdp_config`: {'min_num_params': 1} has no effect without",
    ),
    (
        {"warmup_steps": 2, "warmup_ratio": 0.1},
        "`warmup_ratio`: 0.1 has no effect, for `warmup_steps`=2",
    ),
    ({"max_steps": 5, "num_train_epochs": 2}, "`num_train_epochs`: 2 has no effect, for `max_steps`=5"),
    ({"eval_delay": 2}, "`eval_delay`: 2 has no effect with `eval_strategy`='no'"),
    ({"metric_for_best_model": "loss"}, "`metric_for_best_model`: 'loss' has no effect with"),
    (
        {"greater_is_better": True, "eval_strategy": "epoch"},
        "`greater_is_better`: True has no effect without `metric_for_best_model`",
    ),
    (
        {"include_for_metrics": ["loss"], "prediction_loss_only": True},
        "`include_for_metrics`: ['loss'] has no effect with `prediction_loss_only`=True",
    ),
    (
        {"eval_do_concat_batches": False, "prediction_loss_only": True},
        "`eval_do_concat_batches`: False has no effect with `prediction_loss_only`=True",
    ),
    (
        {"eval_accumulation_steps": 2, "prediction_loss_only": True},
        "`eval_accumulation_steps`: 2 has no effect with `prediction_loss_only`=True",
    ),
    ({"eval_accumulation_steps": 2}, "`eval_accumulation_steps`: 2 has no effect on cpu"),
    ({"half_precision_backend": "cpu_amp"}, "`half_precision_backend`: 'cpu_amp' has no effect without"),
    (
        {"half_precision_backend": "cuda_amp", "bf16": True},
        "`half_precision_backend`: 'cuda_amp' is for NVIDIA and AMD GPUs",
    ),
    (
        {"group_by_length": True, "accelerator_config": {"use_seedable_sampler": False}},
        "`accelerator_config`: use_seedable_sampler=False has no effect, for `group_by_length`=True",
    ),
    ({"fp16_opt_level": "O2"}, "`fp16_opt_level`: 'O2' is a level of NVIDIA Apex"),
    ({"use_ipex": True}, "`use_ipex`: True has no effect"),
    ({"optim_target_precision": "fp8"}, "`optim_target_precision`: 'fp8' has no effect"),
    ({"ray_scope": "all"}, "`ray_scope`: 'all' is read by searches with Ray only"),
]


@pytest.mark.parametrize(("arguments", "start"), IDLE, ids=lambda value: str(value)[:60])
def test_what_has_no_effect_is_said_once(
    arguments: dict[str, Any], start: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        make(**arguments)
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith(start)
    assert "hf_secret" not in caplog.text


@pytest.mark.parametrize(
    ("arguments", "start"),
    [
        ({"generation_max_length": 4}, "`generation_max_length`: 4 has no effect without"),
        ({"generation_num_beams": 4}, "`generation_num_beams`: 4 has no effect without"),
        (
            {"predict_with_generate": True, "prediction_loss_only": True},
            "`predict_with_generate`: True has no effect with `prediction_loss_only`=True",
        ),
    ],
)
def test_what_has_no_effect_on_generation_is_said_once(
    arguments: dict[str, Any], start: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        Seq2SeqTrainingArguments("out", use_cpu=True, report_to="none", **arguments)
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith(start)


def test_an_interval_that_evaluations_take_over_has_an_effect(caplog: pytest.LogCaptureFixture) -> None:
    args = make(eval_strategy="steps", logging_strategy="no", logging_steps=5)
    assert args.eval_steps == 5
    assert caplog.messages == []


def test_evaluating_by_steps_needs_something_to_evaluate() -> None:
    with pytest.raises(UsageError, match="`eval_strategy`: 'steps' needs data to evaluate on"):
        make_trainer(eval_strategy="steps", eval_dataset=None)


def test_the_best_model_is_saved_when_it_appears_whatever_the_intervals_are(tmp_path: Path) -> None:
    scores = iter([0.1, 0.9, 0.5])
    trainer = make_trainer(
        output_dir=tmp_path,
        eval_strategy="steps",
        eval_steps=2,
        save_strategy="steps",
        save_steps=5,
        load_best_model_at_end=True,
        metric_for_best_model="score",
        compute_metrics=lambda prediction: {"score": next(scores)},
    )
    trainer.train()
    assert trainer.state.best_model_checkpoint == str(tmp_path / "checkpoint-4")
    short = make_trainer(max_steps=4, lr_scheduler_type="linear")
    assert not are_equal(weights_of(trainer), weights_of(short))
    assert trainer.state.best_metric == 0.9


def test_a_problem_of_the_values_comes_before_anything_is_made_of_them() -> None:
    with pytest.raises(UsageError):
        make_args(output_dir="never", learning_rate=-1)
    assert not Path("never").exists()

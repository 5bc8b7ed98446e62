"""The `set_...` methods: the published examples, what each sets, and that an error changes nothing."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from drivetrain import (
    ArgumentsError,
    HubStrategy,
    IntervalStrategy,
    OptimizerNames,
    SaveStrategy,
    SchedulerType,
    TrainingArguments,
    UsageError,
)


def make(**arguments: Any) -> TrainingArguments:
    return TrainingArguments("working_dir", **{"use_cpu": True, "report_to": "none", **arguments})


@pytest.mark.parametrize(
    ("method", "given", "name", "value"),
    [
        (
            "set_dataloader",
            {"train_batch_size": 16, "eval_batch_size": 64},
            "per_device_train_batch_size",
            16,
        ),
        ("set_evaluate", {"strategy": "steps", "steps": 100}, "eval_steps", 100),
        ("set_logging", {"strategy": "steps", "steps": 100}, "logging_steps", 100),
        ("set_lr_scheduler", {"name": "cosine", "warmup_ratio": 0.05}, "warmup_ratio", 0.05),
        ("set_optimizer", {"name": "adamw_torch", "beta1": 0.8}, "optim", "adamw_torch"),
        ("set_save", {"strategy": "steps", "steps": 100}, "save_steps", 100),
        ("set_testing", {"batch_size": 32}, "per_device_eval_batch_size", 32),
        ("set_training", {"learning_rate": 1e-4, "batch_size": 32}, "learning_rate", 1e-4),
    ],
)
def test_the_published_examples_give_what_is_published(
    method: str, given: dict[str, Any], name: str, value: Any
) -> None:
    args = TrainingArguments("working_dir")
    args = getattr(args, method)(**given)
    assert getattr(args, name) == value


def test_the_published_example_of_the_hub_gives_what_is_published() -> None:
    args = TrainingArguments("working_dir")
    args = args.set_push_to_hub("me/awesome-model")
    assert args.hub_model_id == "me/awesome-model"


SETS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "set_training": (
        {
            "learning_rate": 1e-4,
            "batch_size": 32,
            "weight_decay": 0.1,
            "num_epochs": 5,
            "max_steps": 100,
            "gradient_accumulation_steps": 2,
            "seed": 7,
            "gradient_checkpointing": True,
        },
        {
            "learning_rate": 1e-4,
            "per_device_train_batch_size": 32,
            "weight_decay": 0.1,
            "num_train_epochs": 5,
            "max_steps": 100,
            "gradient_accumulation_steps": 2,
            "seed": 7,
            "gradient_checkpointing": True,
        },
    ),
    "set_evaluate": (
        {
            "strategy": IntervalStrategy.STEPS,
            "steps": 100,
            "batch_size": 3,
            "accumulation_steps": 2,
            "delay": 4,
            "loss_only": True,
            "jit_mode": True,
        },
        {
            "eval_strategy": "steps",
            "eval_steps": 100,
            "per_device_eval_batch_size": 3,
            "eval_accumulation_steps": 2,
            "eval_delay": 4,
            "prediction_loss_only": True,
            "jit_mode_eval": True,
            "do_eval": True,
        },
    ),
    "set_testing": (
        {"batch_size": 3, "loss_only": True, "jit_mode": True},
        {
            "per_device_eval_batch_size": 3,
            "prediction_loss_only": True,
            "jit_mode_eval": True,
            "do_predict": True,
        },
    ),
    "set_save": (
        {"strategy": SaveStrategy.EPOCH, "steps": 100, "total_limit": 2, "on_each_node": True},
        {
            "save_strategy": "epoch",
            "save_steps": 100,
            "save_total_limit": 2,
            "save_on_each_node": True,
        },
    ),
    "set_logging": (
        {
            "strategy": "epoch",
            "steps": 20,
            "report_to": "tensorboard",
            "level": "info",
            "first_step": True,
            "nan_inf_filter": False,
            "on_each_node": False,
            "replica_level": "error",
        },
        {
            "logging_strategy": "epoch",
            "logging_steps": 20,
            "report_to": "tensorboard",
            "log_level": "info",
            "logging_first_step": True,
            "logging_nan_inf_filter": False,
            "log_on_each_node": False,
            "log_level_replica": "error",
        },
    ),
    "set_push_to_hub": (
        {
            "model_id": "me/net",
            "strategy": HubStrategy.END,
            "token": "hf_secret",
            "private_repo": True,
            "always_push": True,
            "revision": "draft",
        },
        {
            "push_to_hub": True,
            "hub_model_id": "me/net",
            "hub_strategy": "end",
            "hub_token": "hf_secret",
            "hub_private_repo": True,
            "hub_always_push": True,
            "hub_revision": "draft",
        },
    ),
    "set_optimizer": (
        {
            "name": OptimizerNames.ADAMW_TORCH_FUSED,
            "learning_rate": 0.1,
            "weight_decay": 0.2,
            "beta1": 0.8,
            "beta2": 0.9,
            "epsilon": 1e-6,
            "args": "amsgrad=True",
        },
        {
            "optim": "adamw_torch_fused",
            "learning_rate": 0.1,
            "weight_decay": 0.2,
            "adam_beta1": 0.8,
            "adam_beta2": 0.9,
            "adam_epsilon": 1e-6,
            "optim_args": "amsgrad=True",
        },
    ),
    "set_lr_scheduler": (
        {
            "name": SchedulerType.COSINE,
            "num_epochs": 5,
            "max_steps": 50,
            "warmup_ratio": 0.1,
            "warmup_steps": 3,
        },
        {
            "lr_scheduler_type": "cosine",
            "num_train_epochs": 5,
            "max_steps": 50,
            "warmup_ratio": 0.1,
            "warmup_steps": 3,
        },
    ),
    "set_dataloader": (
        {
            "train_batch_size": 2,
            "eval_batch_size": 3,
            "drop_last": True,
            "num_workers": 2,
            "pin_memory": False,
            "persistent_workers": True,
            "prefetch_factor": 4,
            "auto_find_batch_size": True,
            "ignore_data_skip": True,
            "sampler_seed": 7,
        },
        {
            "per_device_train_batch_size": 2,
            "per_device_eval_batch_size": 3,
            "dataloader_drop_last": True,
            "dataloader_num_workers": 2,
            "dataloader_pin_memory": False,
            "dataloader_persistent_workers": True,
            "dataloader_prefetch_factor": 4,
            "auto_find_batch_size": True,
            "ignore_data_skip": True,
            "data_seed": 7,
        },
    ),
}


def values_of(args: TrainingArguments) -> dict[str, Any]:
    return {name: value for name, value in args.to_dict().items() if name != "logging_dir"}


def test_every_setter_is_tested() -> None:
    methods = [name for name, _ in inspect.getmembers(TrainingArguments, inspect.isfunction)]
    assert sorted(SETS) == [name for name in methods if name.startswith("set_")]


@pytest.mark.parametrize("method", SETS)
def test_a_setter_sets_its_arguments_and_no_others(method: str) -> None:
    given, expected = SETS[method]
    args = make()
    before = values_of(args)
    assert getattr(args, method)(**given) is args
    after = {**values_of(args), "hub_token": args.hub_token}
    assert {name: after[name] for name in after if after[name] != before[name]} == expected


@pytest.mark.parametrize("method", SETS)
def test_every_parameter_of_a_setter_is_tested(method: str) -> None:
    parameters = set(inspect.signature(getattr(TrainingArguments, method)).parameters)
    assert parameters - {"self", "num_train_epochs"} == set(SETS[method][0])


@pytest.mark.parametrize("method", [name for name in SETS if name != "set_push_to_hub"])
def test_a_setter_that_is_called_with_nothing_sets_defaults(method: str) -> None:
    given, _ = SETS[method]
    args = getattr(make(), method)(**given)
    again = values_of(getattr(args, method)())
    fresh = values_of(getattr(make(), method)())
    left = {
        "do_eval",
        "do_predict",
        "metric_for_best_model",
        "greater_is_better",
    }  # set, and not taken back
    assert {k: v for k, v in again.items() if k not in left} == {
        k: v for k, v in fresh.items() if k not in left
    }


def test_setters_can_be_chained() -> None:
    args = (
        make().set_training(num_train_epochs=2).set_lr_scheduler("constant", num_epochs=2).set_save("no")
    )
    assert (args.num_train_epochs, args.lr_scheduler_type, args.save_strategy) == (2, "constant", "no")


@pytest.mark.parametrize(
    ("method", "given", "message"),
    [
        ("set_training", {"learning_rate": -1.0, "batch_size": 0}, "2 problems with the arguments"),
        ("set_evaluate", {"strategy": "sometimes"}, "`eval_strategy`: 'sometimes' is no strategy"),
        ("set_optimizer", {"name": "adamw_troch"}, "`optim`: 'adamw_troch' is not installed"),
        ("set_lr_scheduler", {"name": "cosin"}, "`lr_scheduler_type`: 'cosin' is not installed"),
        ("set_save", {"total_limit": 0}, "`save_total_limit`: 0 is no whole number"),
        ("set_save", {"strategy": "best"}, "`save_strategy`: 'best' needs evaluations"),
        ("set_logging", {"level": "loud"}, "`log_level`: 'loud' is none of its values"),
        ("set_dataloader", {"prefetch_factor": 2}, "`dataloader_prefetch_factor`: 2 needs loading"),
        ("set_push_to_hub", {"model_id": "a/b/c"}, "`hub_model_id`: 'a/b/c' is no name of a repository"),
    ],
)
def test_an_error_leaves_the_arguments_as_they_were(
    method: str, given: dict[str, Any], message: str
) -> None:
    args = make(learning_rate=0.5, warmup_steps=3)
    before = args.to_dict()
    with pytest.raises(UsageError) as caught:
        getattr(args, method)(**given)
    assert message in str(caught.value)
    assert args.to_dict() == before


def test_a_setter_finds_what_contradicts_arguments_of_another_theme() -> None:
    args = make().set_evaluate("epoch")
    args.update(load_best_model_at_end=True, save_strategy="epoch")
    with pytest.raises(ArgumentsError, match="`load_best_model_at_end`: True needs evaluations"):
        args.set_evaluate("no")
    assert args.eval_strategy == "epoch"


def test_a_warning_is_said_when_it_is_set_and_not_again(caplog: pytest.LogCaptureFixture) -> None:
    args = make(use_ipex=True).set_lr_scheduler("constant", warmup_steps=3).set_save("epoch")
    assert [text.partition(": ")[0] for text in caplog.messages] == ["`use_ipex`", "`warmup_steps`"]
    assert "`warmup_steps`: 3 has no effect with `lr_scheduler_type`='constant'" in caplog.text
    args.set_lr_scheduler("linear", warmup_steps=3).set_lr_scheduler("constant", warmup_steps=3)
    assert len(caplog.messages) == 3


def test_a_setter_that_leaves_an_interval_out_warns_of_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for method in SETS:
        getattr(make(), method)(*(["net"] if method == "set_push_to_hub" else []))
    assert caplog.messages == []

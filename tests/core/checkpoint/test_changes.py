"""What changed between a save and its resume: what cannot work is refused, what means something is said."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from small import are_equal, make_args, make_samples, make_trainer, weights_of
from torch.optim.lr_scheduler import CosineAnnealingLR

from drivetrain import Seq2SeqTrainingArguments, Trainer, TrainingArguments, UsageError, register
from drivetrain.arguments import AcceleratorConfig
from drivetrain.checkpoint import meanings
from drivetrain.checkpoint.changes import find_changes
from drivetrain.plugin import SchedulerPlugin

FACTS: dict[str, Any] = {
    "world_size": 1,
    "num_examples": 24,
    "train_batch_size": 4,
    "classes": {"optimizer": "AdamW", "scheduler": "LambdaLR"},
    "precision": "no",
    "strategy": "single",
    "torch": "2.9.0",
    "drivetrain": "0.1.0",
}
BASE: dict[str, Any] = {**make_args().to_dict(), **FACTS}


def compare(saved: dict[str, Any], now: dict[str, Any]) -> tuple[list[str], list[str]]:
    return find_changes({**BASE, **saved}, {**BASE, **now})


def warning_of(saved: dict[str, Any], now: dict[str, Any]) -> str:
    """The one message about a change."""
    errors, warnings = compare(saved, now)
    assert errors == []
    assert len(warnings) == 1
    return warnings[0]


# -- the tables -----------------------------------------------------------------------------------


def in_tables() -> Counter[str]:
    told = (meanings.HELD_BY_OPTIMIZER, meanings.ORDERING, meanings.COMPUTED, meanings.ROUNDED)
    names = [name for names in meanings.SILENT.values() for name in names]
    return Counter([*names, *meanings.COMPARED_TOGETHER, *(name for table in told for name in table)])


def test_every_argument_is_in_exactly_one_table() -> None:
    arguments = {field.name for field in dataclasses.fields(Seq2SeqTrainingArguments)}
    keys = {f"accelerator_config.{field.name}" for field in dataclasses.fields(AcceleratorConfig)}
    assert in_tables() == Counter((arguments - {"accelerator_config"}) | keys)


def test_every_reason_is_given_and_the_arguments_of_processes_are_in_a_table() -> None:
    reasons = [*meanings.SILENT, *meanings.COMPUTED.values(), *meanings.ROUNDED.values()]
    assert all([*reasons, *meanings.COMPARED_TOGETHER.values()])
    assert {*meanings.COMPUTED, *meanings.ROUNDED} >= meanings.AMONG_PROCESSES


@pytest.mark.parametrize("name", sorted(name for names in meanings.SILENT.values() for name in names))
def test_nothing_is_said_of_what_means_nothing_to_the_numbers(name: str) -> None:
    outer, _, key = name.partition(".")
    before: Any = {key: "one"} if key else "one"
    after: Any = {key: "other"} if key else "other"
    assert compare({outer: before}, {outer: after}) == ([], [])


@pytest.mark.parametrize("name", [*meanings.HELD_BY_OPTIMIZER, *meanings.COMPUTED, *meanings.ROUNDED])
def test_what_is_in_a_table_of_warnings_is_said_once_with_both_values_and_what_to_type(
    name: str,
) -> None:
    both = {
        "world_size": 2,
        "eval_strategy": "steps",
        "precision": "apex",
        "dataloader_num_workers": 1,
    }
    said = warning_of({**both, name: "one"}, {**both, name: "other"})
    assert f"`{name}`: " in said
    assert "'other'" in said
    assert f"{name}='one'" in said


def test_runs_with_the_same_arguments_have_no_changes() -> None:
    assert compare({}, {}) == ([], [])


def test_of_what_the_checkpoint_does_not_know_nothing_is_said() -> None:
    now = {**BASE, "learning_rate": 0.5, "optim": "sgd", "seed": 3, "max_steps": 5, "warmup_steps": 2}
    assert find_changes({}, now) == ([], [])
    assert find_changes({"learning_rate": 0.5}, now) == ([], [])


@pytest.mark.parametrize(
    ("name", "saved", "now"),
    [
        ("learning_rate", "0.01", 0.01),
        ("num_train_epochs", 1, 1.0),
        ("optim_args", "betas=(0.9, 0.95), eps=1e-6", {"betas": [0.9, 0.95], "eps": 1e-6}),
        ("lr_scheduler_kwargs", '{"num_cycles": 0.5}', {"num_cycles": 0.5}),
        ("lr_scheduler_kwargs", None, {}),
        ("optim_target_modules", "all-linear", ["all-linear"]),
        ("metric_for_best_model", "eval_accuracy", "accuracy"),
        ("fsdp", "", []),
        ("plugins", None, []),
        ("eval_strategy", make_args().eval_strategy, "no"),
    ],
)
def test_one_value_in_two_spellings_is_no_change(name: str, saved: Any, now: Any) -> None:
    assert compare({name: saved}, {name: now}) == ([], [])


def test_versions_are_no_numbers() -> None:
    assert "torch 2.10 goes on where 2.1 was" in warning_of({"torch": "2.1"}, {"torch": "2.10"})


def test_a_long_value_is_cut_short() -> None:
    said = warning_of({"deepspeed": {"a": "x" * 500}}, {"deepspeed": {"a": "y" * 500}})
    assert "xxx..." in said
    assert len(said) < 700


# -- samples an update ----------------------------------------------------------------------------


def test_another_number_of_samples_an_update_is_said_with_its_factors() -> None:
    said = warning_of(
        {"train_batch_size": 8, "gradient_accumulation_steps": 2},
        {"train_batch_size": 4, "gradient_accumulation_steps": 2},
    )
    assert said.startswith(
        "`per_device_train_batch_size`: 4 x 2 x 1 = 8 samples an update go on where 8 x 2 x 1 = 16 were"
    )
    assert "The updates that remain are counted anew" in said
    assert said.endswith("Type per_device_train_batch_size=8 to go on as before.")


def test_in_a_run_of_max_steps_another_number_of_samples_an_update_means_fewer_of_them() -> None:
    said = warning_of({"max_steps": 9}, {"max_steps": 9, "train_batch_size": 2})
    assert "`max_steps` counts updates, so that fewer samples are trained on" in said
    said = warning_of({"max_steps": 9}, {"max_steps": 9, "gradient_accumulation_steps": 2})
    assert "so that more samples are trained on" in said


def test_as_many_samples_an_update_by_other_factors_are_not_bit_equal_and_no_more() -> None:
    said = warning_of({"train_batch_size": 8}, {"train_batch_size": 2, "gradient_accumulation_steps": 4})
    assert "`per_device_train_batch_size` and `gradient_accumulation_steps`: 2 x 4 x 1 = 8" in said
    assert "That is as many" in said
    assert "bit for bit" in said
    assert "curve" not in said
    assert "Type per_device_train_batch_size=8 and type gradient_accumulation_steps=1" in said


def test_fewer_processes_are_allowed_and_what_makes_up_for_them_is_said() -> None:
    said = warning_of({"world_size": 4}, {"world_size": 2, "strategy": "ddp"})
    assert "the number of processes: 4 x 1 x 2 = 8 samples" in said
    assert "are seeded afresh" in said
    assert "Start 4 processes to go on as before, or type gradient_accumulation_steps=2" in said
    assert "Start 1 process to" in warning_of({"world_size": 1}, {"world_size": 2, "strategy": "ddp"})


def test_a_batch_size_that_was_found_to_fit_cannot_be_typed() -> None:
    said = warning_of({}, {"train_batch_size": 2, "auto_find_batch_size": True})
    assert said.endswith("Type gradient_accumulation_steps=2 for as many samples an update.")
    said = warning_of({"train_batch_size": 3}, {"train_batch_size": 2, "auto_find_batch_size": True})
    assert said.endswith("So many were found to fit into memory.")


def test_samples_grouped_by_length_have_another_order_with_another_update() -> None:
    both = {"group_by_length": True}
    assert "sorts by the samples an update" in warning_of(both, {**both, "train_batch_size": 2})


def test_without_the_size_that_was_used_the_argument_is_compared() -> None:
    saved = {name: value for name, value in BASE.items() if name != "train_batch_size"}
    assert find_changes(saved, {**BASE, "train_batch_size": 2}) == ([], [])
    _, warnings = find_changes(saved, {**BASE, "per_device_train_batch_size": 2})
    assert "`per_device_train_batch_size`: 2 x 1 x 1 = 2 samples" in warnings[0]


# -- the order of the samples ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("saved", "now", "typed"),
    [
        ({"seed": 42}, {"seed": 1}, "seed=42"),
        ({"data_seed": 7}, {"data_seed": 8}, "data_seed=7"),
        ({"data_seed": None}, {"data_seed": 8}, "data_seed=None"),
        ({"group_by_length": False}, {"group_by_length": True}, "group_by_length=False"),
        (
            {"group_by_length": True, "length_column_name": "length"},
            {"group_by_length": True, "length_column_name": "size"},
            "length_column_name='length'",
        ),
        (
            {"accelerator_config": {"use_seedable_sampler": True}},
            {"accelerator_config": {"use_seedable_sampler": False}},
            "accelerator_config={'use_seedable_sampler': True}",
        ),
        (
            {"num_examples": None, "dataloader_num_workers": 2},
            {"num_examples": None, "dataloader_num_workers": 3},
            "dataloader_num_workers=2",
        ),
    ],
)
def test_another_order_of_the_samples_is_said(
    saved: dict[str, Any], now: dict[str, Any], typed: str
) -> None:
    said = warning_of(saved, now)
    assert "some may come twice and others not at all" in said
    assert f"Type {typed} to go on as before." in said


def test_another_number_of_samples_in_the_data_is_another_order() -> None:
    said = warning_of({"num_examples": 24}, {"num_examples": 26})
    assert said.startswith("`train_dataset`: it was 24 samples and is 26 samples. In the epoch")
    said = warning_of({"num_examples": None, "seed": 1}, {"num_examples": 24, "seed": 2})
    assert "it was a stream and is 24 samples" in said
    assert "Type seed=1 and pass the earlier data to go on as before." in said


@pytest.mark.parametrize(
    ("saved", "now"),
    [
        ({"seed": 1, "data_seed": 7}, {"seed": 2, "data_seed": 7}),
        ({"seed": 42, "data_seed": None}, {"seed": 1, "data_seed": 42}),
        ({"length_column_name": "a"}, {"length_column_name": "b"}),
        ({"dataloader_num_workers": 1}, {"dataloader_num_workers": 4}),
    ],
)
def test_the_same_order_by_other_arguments_is_no_change(
    saved: dict[str, Any], now: dict[str, Any]
) -> None:
    assert compare(saved, now) == ([], [])


def test_random_numbers_that_come_from_elsewhere_are_said() -> None:
    assert "`dataloader_num_workers`: 2 goes on where 0 was" in warning_of(
        {}, {"dataloader_num_workers": 2}
    )
    both = {"dataloader_num_workers": 2, "data_seed": 7}
    assert "`seed`: 1 goes on where 42 was. That means the same" in warning_of(both, {**both, "seed": 1})


# -- optimizer and schedule -----------------------------------------------------------------------


def classes(optimizer: str = "AdamW", scheduler: str = "LambdaLR") -> dict[str, Any]:
    return {"classes": {"optimizer": optimizer, "scheduler": scheduler}}


def test_another_class_of_optimizer_or_schedule_is_an_error() -> None:
    errors, _ = compare({}, {"optim": "sgd", **classes("SGD")})
    assert errors == [
        "`optim`: the checkpoint was saved with 'adamw_torch' (AdamW), whose state 'sgd' (SGD) cannot take "
        "over. Type optim='adamw_torch', or start anew."
    ]
    plateau = {"lr_scheduler_type": "reduce_lr_on_plateau", **classes(scheduler="ReduceLROnPlateau")}
    errors, warnings = compare({}, plateau)
    assert len(errors) == 1
    assert "`lr_scheduler_type`: the checkpoint was saved with 'linear' (LambdaLR)" in errors[0]
    assert warnings == []


def test_a_class_of_the_same_name_from_another_package_is_an_error() -> None:
    saved = {"packages": {"optimizer": "torch"}}
    now = {"optim": "adamw_8bit", "packages": {"optimizer": "drivetrain_bitsandbytes"}}
    errors, _ = compare(saved, now)
    assert errors == [
        "`optim`: the checkpoint was saved with 'adamw_torch' (torch's AdamW), whose state 'adamw_8bit' "
        "(drivetrain_bitsandbytes's AdamW) cannot take over. Type optim='adamw_torch', or start anew."
    ]
    assert compare(saved, {"optim": "adamw_torch_fused", **saved})[0] == []
    assert compare({}, {"optim": "adamw_torch_fused", **saved})[0] == []


def test_what_made_the_class_another_is_what_to_type() -> None:
    errors, _ = compare({}, {"adam_bias_correction": False, **classes("UncorrectedAdamW")})
    assert "Type adam_bias_correction=True, or start anew." in errors[0]
    errors, _ = compare({}, classes("Mine"))
    assert "Pass one of the class AdamW, or start anew." in errors[0]


def test_other_modules_of_a_low_rank_optimizer_are_an_error() -> None:
    errors, _ = compare({"optim_target_modules": ["q"]}, {"optim_target_modules": ["k"]})
    assert "Type optim_target_modules=['q'], or start anew." in errors[0]


def test_another_optimizer_of_the_same_class_goes_on_with_the_earlier_options() -> None:
    said = warning_of({}, {"optim": "adamw_torch_fused"})
    assert (
        "`optim`: 'adamw_torch_fused' goes on where 'adamw_torch' was, with the state and the opt"
        in said
    )


def test_what_the_state_of_the_optimizer_holds_is_one_message() -> None:
    said = warning_of({}, {"learning_rate": 0.5, "weight_decay": 0.1})
    assert "`learning_rate`: 0.01 goes on, and 0.5 has no effect; `weight_decay`: 0.0 goes on" in said
    assert "Type learning_rate=0.01 and weight_decay=0.0; or, for the new, load" in said


def test_a_curve_that_is_a_share_of_the_rate_is_said_to_end_otherwise() -> None:
    both: dict[str, Any] = {
        "lr_scheduler_type": "cosine_with_min_lr",
        "lr_scheduler_kwargs": "min_lr=1e-3",
    }
    assert "the curve of 'cosine_with_min_lr' ends" in warning_of(both, {**both, "learning_rate": 0.5})
    assert "ends at a share" not in warning_of({}, {"learning_rate": 0.5})


@pytest.mark.parametrize(
    ("saved", "now", "typed"),
    [
        ({}, {"lr_scheduler_type": "cosine"}, "lr_scheduler_type='linear'"),
        ({}, {"lr_scheduler_kwargs": {"num_cycles": 2}}, "lr_scheduler_kwargs={}"),
        ({"warmup_steps": 2}, {"warmup_steps": 3, "warmup_ratio": 0.5}, "warmup_steps=2"),
        ({"warmup_ratio": 0.2}, {"warmup_ratio": 0.5}, "warmup_ratio=0.2"),
        ({}, {"num_train_epochs": 4}, "num_train_epochs=1"),
        ({"max_steps": 6}, {"max_steps": 9, "num_train_epochs": 5}, "max_steps=6"),
        ({}, {"max_steps": 9}, "max_steps=-1"),
        (
            {"lr_scheduler_type": "constant_with_warmup", "warmup_ratio": 0.1},
            {"lr_scheduler_type": "constant_with_warmup", "warmup_ratio": 0.1, "num_train_epochs": 4},
            "num_train_epochs=1",
        ),
    ],
)
def test_another_curve_of_the_learning_rate_is_said(
    saved: dict[str, Any], now: dict[str, Any], typed: str
) -> None:
    said = warning_of(saved, now)
    assert "From here on the learning rate follows the new curve" in said
    assert f"Type {typed} to have the earlier curve." in said


def test_the_length_means_nothing_to_a_schedule_without_an_end() -> None:
    for name in ("constant", "constant_with_warmup", "inverse_sqrt", "reduce_lr_on_plateau"):
        both = {"lr_scheduler_type": name}
        assert compare(both, {**both, "num_train_epochs": 9}) == ([], [])
    assert compare({"max_steps": 0}, {"max_steps": -1}) == ([], [])


def test_a_schedule_that_keeps_its_options_in_its_state_goes_on_with_the_earlier() -> None:
    both = {"lr_scheduler_type": "mine", **classes(scheduler="StepLR")}
    said = warning_of(both, {**both, "lr_scheduler_kwargs": {"gamma": 0.5}})
    assert "`lr_scheduler_kwargs`: {} goes on, and {'gamma': 0.5} has no effect" in said
    said = warning_of(both, {**both, "num_train_epochs": 3})
    assert "its state in the checkpoint (StepLR) has the earlier length" in said


def test_evaluations_that_a_schedule_waits_for_are_part_of_it() -> None:
    both = {"lr_scheduler_type": "reduce_lr_on_plateau", "eval_strategy": "steps", "eval_steps": 2}
    said = warning_of(both, {**both, "eval_steps": 4})
    assert "the patience of 'reduce_lr_on_plateau' counts evaluations" in said
    assert "`eval_steps`: 4 goes on where 2 was" in said


# -- what is computed -----------------------------------------------------------------------------


def test_another_precision_is_said_by_its_name_however_it_was_asked_for() -> None:
    said = warning_of({"precision": "auto", "bf16": True}, {"precision": "fp16", "fp16": True})
    assert said.startswith("`precision`: 'fp16' goes on where 'bf16' was.")
    assert "Type precision='bf16', and leave out `bf16` and `fp16`" in said
    assert compare({"precision": "bf16", "bf16": False}, {"precision": "bf16", "bf16": True}) == ([], [])


def test_what_is_computed_otherwise_is_one_message_that_says_what() -> None:
    said = warning_of({}, {"max_grad_norm": 0.5, "label_smoothing_factor": 0.1})
    assert "another computation (what gradients are clipped to and the loss)" in said
    assert "Type max_grad_norm=1.0 and label_smoothing_factor=0.0" in said


def test_what_only_several_processes_read_means_nothing_to_one() -> None:
    for name in meanings.AMONG_PROCESSES:
        assert compare({name: 1}, {name: 2}) == ([], [])
    assert compare({"fp16_opt_level": "O1"}, {"fp16_opt_level": "O2"}) == ([], [])


def test_values_of_another_metric_are_said_to_be_compared_with_the_best() -> None:
    saved = {"metric_for_best_model": "loss", "greater_is_better": False}
    said = warning_of(saved, {"metric_for_best_model": "eval_accuracy", "greater_is_better": True})
    assert "the best value so far was found by the earlier" in said
    assert compare({}, {"metric_for_best_model": "loss", "greater_is_better": False}) == ([], [])


def test_what_only_rounds_otherwise_is_one_message_with_the_versions() -> None:
    said = warning_of(
        {"eval_strategy": "steps", "eval_steps": 2},
        {"eval_strategy": "steps", "eval_steps": 3, "torch_compile": True, "torch": "2.10.0"},
    )
    assert "`torch_compile`: True goes on where False was; `eval_steps`: 3 goes on where 2 was" in said
    assert "That means the same" in said
    assert said.endswith(
        "Type torch_compile=False and eval_steps=2 and install torch 2.9.0 to go on as before."
    )
    assert compare({"eval_steps": 2}, {"eval_steps": 3}) == ([], [])


def test_another_strategy_rounds_otherwise_unless_it_is_for_another_number_of_processes() -> None:
    assert "`strategy`: 'fsdp' goes on where 'single' was" in warning_of({}, {"strategy": "fsdp"})
    assert "`strategy`" not in warning_of({}, {"strategy": "ddp", "world_size": 2})


# -- through the trainer --------------------------------------------------------------------------


STEPS: dict[str, Any] = {"save_strategy": "steps", "save_steps": 4, "num_train_epochs": 2}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Trainer:
    """A run with a checkpoint at its fourth update of twelve."""
    trainer = make_trainer(output_dir=tmp_path_factory.mktemp("run"), **STEPS)
    trainer.train()
    return trainer


def resume(run: Trainer, folder: Path, **changed: Any) -> Trainer:
    trainer = make_trainer(output_dir=folder, **{**STEPS, **changed})
    trainer.train(resume_from_checkpoint=f"{run.args.output_dir}/checkpoint-4")
    return trainer


def test_a_run_that_goes_on_as_it_was_is_told_of_no_change(
    run: Trainer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    resumed = resume(run, tmp_path, logging_steps=3, run_name="again", per_device_eval_batch_size=2)
    assert are_equal(weights_of(run), weights_of(resumed))
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize(
    "changed",
    [
        {"learning_rate": 0.5},
        {"weight_decay": 0.3},
        {"adam_beta1": 0.5},
        {"adam_beta2": 0.9},
        {"adam_epsilon": 1e-2},
        {"optim_args": "amsgrad=True"},
        {"optim": "adamw_torch_fused"},
    ],
    ids=str,
)
def test_what_is_said_to_have_no_effect_has_none(
    changed: dict[str, Any], run: Trainer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    resumed = resume(run, tmp_path, **changed)
    assert are_equal(weights_of(run), weights_of(resumed))
    assert f"`{next(iter(changed))}`: " in caplog.text
    assert "in the checkpoint" in caplog.text


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"lr_scheduler_type": "cosine"}, "follows the new curve"),
        ({"warmup_steps": 6}, "follows the new curve"),
        ({"num_train_epochs": 3}, "follows the new curve"),
        ({"seed": 1}, "some may come twice"),
        ({"train_dataset": make_samples(28)}, "it was 24 samples and is 28 samples"),
        ({"max_grad_norm": 0.01}, "another computation"),
        ({"label_smoothing_factor": 0.1}, "another computation"),
        ({"precision": "bf16"}, "`precision`: 'bf16' goes on where 'no' was"),
        (
            {"per_device_train_batch_size": 2},
            "2 x 1 x 1 = 2 samples an update go on where 4 x 1 x 1 = 4",
        ),
        ({"eval_strategy": "epoch"}, "bit for bit"),
    ],
    ids=lambda value: ", ".join(value) if isinstance(value, dict) else "",
)
def test_what_is_said_to_change_the_run_changes_it(
    changed: dict[str, Any],
    said: str,
    run: Trainer,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    resumed = resume(run, tmp_path, **changed)
    assert not are_equal(weights_of(run), weights_of(resumed))
    assert said in caplog.text


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"optim": "sgd"},
            r"`optim`: .*'adamw_torch' \(AdamW\).*'sgd' \(SGD\).*Type optim='adamw_torch'",
        ),
        ({"adam_bias_correction": False}, r"Type adam_bias_correction=True, or start anew"),
    ],
    ids=["optimizer", "bias correction"],
)
def test_what_cannot_go_on_is_refused_before_training(
    changed: dict[str, Any], message: str, run: Trainer, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=message):
        resume(run, tmp_path, **changed)


def test_a_schedule_whose_state_holds_all_keeps_its_length(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Annealing(SchedulerPlugin):
        def create(self, optimizer: Any, num_warmup_steps: int, num_training_steps: int) -> Any:
            return CosineAnnealingLR(optimizer, T_max=num_training_steps)

    register("scheduler", "annealing", Annealing)
    whole = make_trainer(output_dir=tmp_path, lr_scheduler_type="annealing", **STEPS)
    whole.train()
    resumed = resume(whole, tmp_path / "on", lr_scheduler_type="annealing", num_train_epochs=3)
    assert resumed.lr_scheduler.T_max == 12
    assert "its state in the checkpoint (CosineAnnealingLR) has the earlier length" in caplog.text


def test_a_change_is_told_from_what_the_checkpoint_holds_as_json(run: Trainer) -> None:
    saved = json.loads(Path(run.args.output_dir, "checkpoint-4", "training_args.json").read_text())
    again = TrainingArguments(**{**saved, "seed": 3, "logging_dir": None}).to_dict()
    errors, warnings = find_changes(saved, again)
    assert errors == []
    assert [warning.split(":")[0] for warning in warnings] == ["`seed`"]

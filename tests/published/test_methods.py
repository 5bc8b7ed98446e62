"""Every published method and attribute of the trainer: its signature, and what it does."""

from __future__ import annotations

import inspect
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from both_trainers import make_gpt2, text_samples
from fake_hub import FakeHub
from small import Net, Stream, are_equal, make_args, make_net, make_samples, make_trainer, weights_of
from torch import nn

from drivetrain import (
    BestRun,
    Seq2SeqTrainer,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    UsageError,
)
from drivetrain_registry import Entry, Registry

# -- signatures ------------------------------------------------------------------------------------

TRAINER = {
    "__init__": "model=None, args=None, data_collator=None, train_dataset=None, eval_dataset=None, "
    "processing_class=None, model_init=None, compute_loss_func=None, compute_metrics=None, callbacks=None, "
    "optimizers=(None, None), optimizer_cls_and_kwargs=None, preprocess_logits_for_metrics=None",
    "add_callback": "callback",
    "autocast_smart_context_manager": "cache_enabled=True",
    "call_model_init": "trial=None",
    "compute_loss": "model, inputs, return_outputs=False, num_items_in_batch=None",
    "compute_loss_context_manager": "",
    "create_model_card": "language=None, license=None, tags=None, model_name=None, finetuned_from=None, "
    "tasks=None, dataset_tags=None, dataset=None, dataset_args=None",
    "create_optimizer": "",
    "create_optimizer_and_scheduler": "num_training_steps",
    "create_scheduler": "num_training_steps, optimizer=None",
    "evaluate": "eval_dataset=None, ignore_keys=None, metric_key_prefix='eval'",
    "evaluation_loop": "dataloader, description, prediction_loss_only=None, ignore_keys=None, "
    "metric_key_prefix='eval'",
    "floating_point_ops": "inputs",
    "get_batch_samples": "epoch_iterator, num_batches, device",
    "get_decay_parameter_names": "model",
    "get_eval_dataloader": "eval_dataset=None",
    "get_learning_rates": "",
    "get_num_trainable_parameters": "",
    "get_optimizer_cls_and_kwargs": "args, model=None",
    "get_optimizer_group": "param=None",
    "get_test_dataloader": "test_dataset",
    "get_total_train_batch_size": "args",
    "get_tp_size": "",
    "get_train_dataloader": "",
    "hyperparameter_search": "hp_space=None, compute_objective=None, n_trials=100, direction='minimize', "
    "backend=None, hp_name=None, **kwargs",
    "init_hf_repo": "token=None",
    "is_local_process_zero": "",
    "is_world_process_zero": "",
    "log": "logs, start_time=None",
    "log_metrics": "split, metrics",
    "metrics_format": "metrics",
    "num_examples": "dataloader",
    "num_tokens": "train_dl, max_steps=None",
    "pop_callback": "callback",
    "predict": "test_dataset, ignore_keys=None, metric_key_prefix='test'",
    "prediction_loop": "dataloader, description, prediction_loss_only=None, ignore_keys=None, "
    "metric_key_prefix='eval'",
    "prediction_step": "model, inputs, prediction_loss_only, ignore_keys=None",
    "propagate_args_to_deepspeed": "auto_find_batch_size=False",
    "push_to_hub": "commit_message='End of training', blocking=True, token=None, revision=None, **kwargs",
    "remove_callback": "callback",
    "save_metrics": "split, metrics, combined=True",
    "save_model": "output_dir=None, _internal_call=False",
    "save_state": "",
    "set_initial_training_values": "args, dataloader, total_train_batch_size",
    "train": "resume_from_checkpoint=None, trial=None, ignore_keys_for_eval=None",
    "training_step": "model, inputs, num_items_in_batch=None",
}
SEQ2SEQ_TRAINER = {
    "evaluate": "eval_dataset=None, ignore_keys=None, metric_key_prefix='eval', **gen_kwargs",
    "predict": "test_dataset, ignore_keys=None, metric_key_prefix='test', **gen_kwargs",
}
ARGUMENTS = {
    "get_process_log_level": "",
    "get_warmup_steps": "num_training_steps",
    "main_process_first": "local=True, desc='work'",
    "set_dataloader": "train_batch_size=8, eval_batch_size=8, drop_last=False, num_workers=0, "
    "pin_memory=True, persistent_workers=False, prefetch_factor=None, auto_find_batch_size=False, "
    "ignore_data_skip=False, sampler_seed=None",
    "set_evaluate": "strategy='no', steps=500, batch_size=8, accumulation_steps=None, delay=None, "
    "loss_only=False, jit_mode=False",
    "set_logging": "strategy='steps', steps=500, report_to='all', level='passive', first_step=False, "
    "nan_inf_filter=True, on_each_node=True, replica_level='passive'",
    "set_lr_scheduler": "name='linear', num_epochs=3.0, max_steps=-1, warmup_ratio=0.0, warmup_steps=0",
    "set_optimizer": "name='adamw_torch', learning_rate=5e-05, weight_decay=0.0, beta1=0.9, beta2=0.999, "
    "epsilon=1e-08, args=None",
    "set_push_to_hub": "model_id, strategy='every_save', token=None, private_repo=None, "
    "always_push=False, revision=None",
    "set_save": "strategy='steps', steps=500, total_limit=None, on_each_node=False",
    "set_testing": "batch_size=8, loss_only=False, jit_mode=False",
    "set_training": "learning_rate=5e-05, batch_size=8, weight_decay=0.0, num_epochs=3.0, max_steps=-1, "
    "gradient_accumulation_steps=1, seed=42, gradient_checkpointing=False",
    "to_dict": "",
    "to_json_string": "",
    "to_sanitized_dict": "",
}


def parameters_of(function: Any) -> list[str]:
    """A function's parameters with their defaults, ``self`` left out, as one writes them."""
    parameters = inspect.signature(function).parameters.values()
    return [str(p.replace(annotation=p.empty)) for p in parameters if p.name != "self"]


@pytest.mark.parametrize(
    ("cls", "name", "published"),
    [
        (cls, name, published)
        for cls, methods in (
            (Trainer, TRAINER),
            (Seq2SeqTrainer, SEQ2SEQ_TRAINER),
            (TrainingArguments, ARGUMENTS),
        )
        for name, published in methods.items()
    ],
)
def test_a_method_has_the_published_parameters_in_their_order(
    cls: type, name: str, published: str
) -> None:
    ours = parameters_of(getattr(cls, name))
    expected = parameters_of(eval(f"lambda {published}: None"))
    assert ours[: len(expected)] == expected
    added = list(inspect.signature(getattr(cls, name)).parameters.values())[-1]
    assert len(ours) == len(expected) or added.default is not added.empty


ATTRIBUTES = {
    "args": TrainingArguments,
    "model": Net,
    "model_wrapped": Net,
    "is_model_parallel": bool,
    "place_model_on_device": bool,
    "is_in_train": bool,
    "model_accepts_loss_kwargs": bool,
    "train_dataset": list,
    "eval_dataset": list,
    "label_names": list,
    "optimizer": type(None),
    "lr_scheduler": type(None),
    "processing_class": type(None),
    "tokenizer": type(None),
    "compute_metrics": type(None),
    "compute_loss_func": type(None),
    "label_smoother": type(None),
    "callback_handler": object,
    "state": object,
    "control": object,
}


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_an_attribute_is_there_once_the_trainer_is(name: str) -> None:
    assert isinstance(getattr(make_trainer(), name), ATTRIBUTES[name])


# -- optimizer and schedule ------------------------------------------------------------------------


def test_learning_rates_are_told_for_each_group() -> None:
    trainer = make_trainer(learning_rate=0.25)
    with pytest.raises(
        ValueError, match=r"`optimizer`: there is none before training.*create_optimizer"
    ):
        trainer.get_learning_rates()
    trainer.create_optimizer()
    assert trainer.get_learning_rates() == [0.25, 0.25]


def test_the_group_of_a_parameter_is_found_by_name_and_by_itself() -> None:
    trainer = make_trainer(weight_decay=0.5)
    with pytest.raises(ValueError, match="`optimizer`: there is none before training"):
        trainer.get_optimizer_group()
    trainer.create_optimizer()
    model: Any = trainer.model
    decayed, kept = trainer.optimizer.param_groups
    assert trainer.get_optimizer_group("inner.weight") is decayed
    assert trainer.get_optimizer_group(model.inner.bias) is kept
    assert trainer.get_optimizer_group(model.norm.weight)["weight_decay"] == 0
    assert trainer.get_optimizer_group() == [decayed["params"], kept["params"]]
    with pytest.raises(ValueError, match=r"`param`: 'inner.wight' is in no group"):
        trainer.get_optimizer_group("inner.wight")


def test_trainable_parameters_are_counted() -> None:
    trainer = make_trainer()
    model: Any = trainer.model
    whole = trainer.get_num_trainable_parameters()
    model.inner.requires_grad_(False)
    assert whole == sum(p.numel() for p in model.parameters())
    assert whole - trainer.get_num_trainable_parameters() == 6 * 16 + 16


@pytest.mark.parametrize("make_model", [make_net, make_gpt2])
def test_parameters_that_decay_are_those_of_transformers(make_model: Any, tmp_path: Path) -> None:
    model = make_model()
    theirs = transformers.Trainer(
        model, transformers.TrainingArguments(str(tmp_path), report_to="none", use_cpu=True)
    )
    names = make_trainer(model=model, eval_dataset=None).get_decay_parameter_names(model)
    assert sorted(names) == sorted(theirs.get_decay_parameter_names(model))


def test_class_and_keywords_make_the_optimizer_of_the_arguments() -> None:
    args = make_args(learning_rate=0.5, adam_beta1=0.8, optim_args="amsgrad=True")
    cls, kwargs = Trainer.get_optimizer_cls_and_kwargs(args)
    optimizer = cls(nn.Linear(2, 2).parameters(), **kwargs)
    assert isinstance(optimizer, torch.optim.AdamW)
    group = optimizer.param_groups[0]
    assert (group["lr"], group["betas"], group["amsgrad"]) == (0.5, (0.8, 0.999), True)


def test_optimizer_and_schedule_are_made_and_made_once() -> None:
    trainer = make_trainer(warmup_steps=2)
    optimizer = trainer.create_optimizer()
    schedule = trainer.create_scheduler(num_training_steps=10)
    trainer.create_optimizer_and_scheduler(num_training_steps=10)
    assert trainer.optimizer is optimizer is trainer.create_optimizer()
    assert trainer.lr_scheduler is schedule is trainer.create_scheduler(10)
    assert trainer.get_learning_rates() == [0.0, 0.0]


def test_a_schedule_can_be_made_for_another_optimizer() -> None:
    trainer = make_trainer()
    other = torch.optim.SGD(trainer.model.parameters(), lr=1.0)
    schedule = trainer.create_scheduler(4, optimizer=other)
    other.step()
    schedule.step()
    assert other.param_groups[0]["lr"] == 0.75


# -- how long a run is -----------------------------------------------------------------------------


def test_the_batch_of_an_update_is_all_its_micro_batches() -> None:
    trainer = make_trainer(per_device_train_batch_size=3, gradient_accumulation_steps=5)
    assert trainer.get_total_train_batch_size(trainer.args) == 15
    assert trainer.get_tp_size() == 1


@pytest.mark.parametrize(
    ("options", "stream", "expected"),
    [
        ({}, False, (1, 3, 24, 24.0, True, 6, 3)),
        ({"num_train_epochs": 2.5}, False, (3, 3, 24, 60.0, True, 6, 8)),
        ({"max_steps": 7}, False, (3, 3, 24, 56, False, 6, 7)),
        ({"max_steps": 7}, True, (sys.maxsize, 7, 56, 56, False, None, 7)),
    ],
)
def test_the_numbers_of_a_run_are_told_in_the_published_order(
    options: dict[str, Any], stream: bool, expected: tuple[Any, ...]
) -> None:
    data = Stream(make_samples()) if stream else make_samples()
    trainer = make_trainer(train_dataset=data, gradient_accumulation_steps=2, **options)
    loader = trainer.get_train_dataloader()
    values = trainer.set_initial_training_values(trainer.args, loader, 8)
    assert tuple(values) == expected


def test_examples_and_tokens_are_counted() -> None:
    trainer = make_trainer(model=make_gpt2(), train_dataset=text_samples(10), eval_dataset=None)
    loader = trainer.get_train_dataloader()
    assert trainer.num_examples(loader) == 10
    assert Trainer.num_tokens(loader) == trainer.num_tokens(loader) == 10 * 12
    assert trainer.num_tokens(loader, max_steps=3) == 4 * 12 * 3
    assert trainer.num_examples([{}, {}]) == 2 * 4  # from its batches, where nothing says how many


def test_operations_are_those_of_transformers(tmp_path: Path) -> None:
    model, batch = make_gpt2(), {"input_ids": torch.ones(2, 12, dtype=torch.long)}
    theirs = transformers.Trainer(
        model, transformers.TrainingArguments(str(tmp_path), report_to="none", use_cpu=True)
    )
    ours = make_trainer(model=model, eval_dataset=None)
    assert ours.floating_point_ops(batch) == theirs.floating_point_ops(batch) > 0
    assert make_trainer().floating_point_ops({"x": torch.ones(2, 6)}) == 0


# -- batches, losses, contexts ---------------------------------------------------------------------


def test_loaders_give_batches_of_their_data() -> None:
    sets = {"first": make_samples(5), "second": make_samples(7)}
    trainer = make_trainer(eval_dataset=sets, per_device_eval_batch_size=5)
    assert len(trainer.get_train_dataloader()) == 6
    assert [len(batch["x"]) for batch in trainer.get_eval_dataloader("second")] == [5, 2]
    assert trainer.num_examples(trainer.get_eval_dataloader(make_samples(3))) == 3
    assert len(trainer.get_test_dataloader(make_samples(11))) == 3


def test_micro_batches_of_an_update_come_with_their_labels_counted() -> None:
    trainer = make_trainer(model=make_gpt2(), train_dataset=text_samples(8), eval_dataset=None)
    batches = list(trainer.get_train_dataloader())
    collected, num_items = trainer.get_batch_samples(iter(batches), 2, torch.device("cpu"))
    assert len(collected) == 2
    assert num_items is not None
    assert 0 < int(num_items) <= sum(int(batch["labels"].ne(-100).sum()) for batch in batches)
    collected, num_items = make_trainer().get_batch_samples(iter(batches), 3, torch.device("cpu"))
    assert len(collected) == 2
    assert num_items is None


def test_a_loss_is_given_with_its_outputs() -> None:
    trainer = make_trainer(model=make_net(dropout=0.0))
    batch = next(iter(trainer.get_eval_dataloader()))
    loss, outputs = trainer.compute_loss(trainer.model, batch, return_outputs=True)
    assert outputs["logits"].shape == (8, 3)
    assert torch.equal(trainer.compute_loss(trainer.model, batch), loss)
    assert loss.requires_grad


def test_a_training_step_leaves_gradients_and_gives_the_loss_without() -> None:
    trainer = make_trainer()
    batch = next(iter(trainer.get_eval_dataloader()))
    loss = trainer.training_step(trainer.model, batch)
    assert not loss.requires_grad
    assert all(parameter.grad is not None for parameter in trainer.model.parameters())


@pytest.mark.parametrize("loss_only", [True, False])
def test_a_prediction_step_gives_loss_outputs_and_labels(loss_only: bool) -> None:
    trainer = make_trainer(model=make_net(dropout=0.0))
    batch = next(iter(trainer.get_eval_dataloader()))
    loss, logits, labels = trainer.prediction_step(trainer.model, batch, loss_only)
    assert loss.dim() == 0
    if loss_only:
        assert logits is None
        assert labels is None
    else:
        assert logits.shape == (8, 3)
        assert torch.equal(labels, batch["labels"])


@pytest.mark.parametrize("name", ["evaluation_loop", "prediction_loop"])
def test_a_loop_gives_predictions_labels_metrics_and_how_many(name: str) -> None:
    trainer = make_trainer(compute_metrics=lambda prediction: {"ones": 1})
    loop = getattr(trainer, name)
    output = loop(trainer.get_eval_dataloader(), "Looking", metric_key_prefix="seen")
    assert output.predictions.shape == (10, 3)
    assert output.label_ids.shape == (10,)
    assert output.num_samples == 10
    assert output.metrics["seen_ones"] == 1
    assert "seen_loss" in output.metrics


@pytest.mark.parametrize("name", ["compute_loss_context_manager", "autocast_smart_context_manager"])
def test_losses_are_computed_in_the_format_of_the_arguments(name: str) -> None:
    for bf16, expected in ((True, torch.bfloat16), (False, torch.float32)):
        trainer = make_trainer(bf16=bf16)
        with getattr(trainer, name)():
            assert nn.functional.linear(torch.ones(1, 2), torch.ones(2, 2)).dtype == expected


def test_autocast_may_do_without_its_cache() -> None:
    trainer = make_trainer(bf16=True)
    with trainer.autocast_smart_context_manager(cache_enabled=False):
        assert not torch.is_autocast_cache_enabled()


# -- logs and metrics ------------------------------------------------------------------------------

METRICS = {
    "train_runtime": 3725.5,
    "train_loss": 1.23456789,
    "epoch": 2.0,
    "total_flos": 5 * 2**30,
    "train_mem_cpu_alloc_delta": 3 * 2**20,
    "train_samples": 24,
}


def test_metrics_are_formatted_as_transformers_does() -> None:
    before = dict(METRICS)
    formatted = make_trainer().metrics_format(METRICS)
    assert formatted == transformers.Trainer.metrics_format(METRICS)
    assert formatted["train_runtime"] == "1:02:05.50"
    assert before == METRICS


def test_metrics_are_printed_as_transformers_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs = transformers.Trainer(
        make_net(), transformers.TrainingArguments(str(tmp_path), report_to="none", use_cpu=True)
    )
    ours = make_trainer()
    capsys.readouterr()
    theirs.log_metrics("train", METRICS)
    expected = capsys.readouterr().out
    ours.log_metrics("train", METRICS)
    assert capsys.readouterr().out == expected
    assert "***** train metrics *****" in expected
    assert "1:02:05.50" in expected


def test_metrics_are_saved_by_split_and_together(tmp_path: Path) -> None:
    trainer = make_trainer(output_dir=tmp_path)
    trainer.save_metrics("train", {"train_loss": 1.5})
    trainer.save_metrics("eval", {"eval_loss": 2.5})
    trainer.save_metrics("test", {"test_loss": 3.5}, combined=False)
    read = {file.name: json.loads(file.read_text()) for file in tmp_path.glob("*.json")}
    assert read == {
        "train_results.json": {"train_loss": 1.5},
        "eval_results.json": {"eval_loss": 2.5},
        "test_results.json": {"test_loss": 3.5},
        "all_results.json": {"train_loss": 1.5, "eval_loss": 2.5},
    }


def test_another_process_than_the_first_neither_prints_nor_saves(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Second(Trainer):
        def is_world_process_zero(self) -> bool:
            return False

    trainer = make_trainer(Second, output_dir=tmp_path / "second")
    trainer.log_metrics("train", METRICS)
    trainer.save_metrics("train", METRICS)
    assert capsys.readouterr().out == ""
    assert not list(tmp_path.glob("second/*.json"))


def test_what_is_logged_is_in_the_history_and_reaches_callbacks() -> None:
    seen = []

    class Seeing(TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
            seen.append(logs)

    trainer = make_trainer(callbacks=[Seeing])
    trainer.state.epoch = 1.5
    trainer.log({"loss": 0.5}, start_time=0.0)
    assert trainer.state.log_history == [{"loss": 0.5, "epoch": 1.5, "step": 0}]
    assert seen == [{"loss": 0.5, "epoch": 1.5}]


def test_the_first_process_is_the_only_one_here() -> None:
    trainer = make_trainer()
    assert trainer.is_local_process_zero() is trainer.is_world_process_zero() is True


# -- saving ----------------------------------------------------------------------------------------


def test_the_state_is_saved(tmp_path: Path) -> None:
    trainer = make_trainer(output_dir=tmp_path)
    trainer.train()
    trainer.save_state()
    state = json.loads((tmp_path / "trainer_state.json").read_text())
    assert state["global_step"] == 6
    assert state["log_history"] == trainer.state.log_history


def test_the_model_is_saved_where_it_is_asked_for(tmp_path: Path) -> None:
    model = make_gpt2()
    trainer = make_trainer(model=model, output_dir=tmp_path / "out", eval_dataset=None)
    trainer.save_model()
    trainer.save_model(str(tmp_path / "elsewhere"))
    for folder in ("out", "elsewhere"):
        loaded = transformers.GPT2LMHeadModel.from_pretrained(tmp_path / folder)
        assert are_equal(loaded.state_dict(), weights_of(trainer))


def test_a_model_card_is_written(tmp_path: Path) -> None:
    trainer = make_trainer(output_dir=tmp_path)
    trainer.train()
    trainer.create_model_card(
        language="en", license="mit", tags="small", model_name="net", dataset="lines", tasks=None
    )
    card = (tmp_path / "README.md").read_text()
    assert card.startswith("---\n")
    assert "license: mit" in card
    assert "# net" in card


# -- models ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("takes_trial", [True, False])
def test_model_init_is_called_with_a_trial_if_it_takes_one(takes_trial: bool) -> None:
    seen: list[Any] = []

    def with_trial(trial: Any) -> Net:
        seen.append(trial)
        return make_net()

    trainer = make_trainer(model_init=with_trial if takes_trial else make_net)
    assert isinstance(trainer.call_model_init("a trial"), Net)
    assert isinstance(trainer.call_model_init(), Net)
    assert seen == ([None, "a trial", None] if takes_trial else [])


def test_the_wrapped_model_is_the_model_where_nothing_wraps_it() -> None:
    trainer = make_trainer()
    assert trainer.model_wrapped is trainer.model
    trainer.train()
    assert trainer.model_wrapped is trainer.model


def test_it_is_in_training_while_it_trains_and_only_then() -> None:
    seen = []

    class Seeing(Trainer):
        def evaluate(self, *args: Any, **kwargs: Any) -> Any:
            seen.append(self.is_in_train)
            return super().evaluate(*args, **kwargs)

    trainer = make_trainer(Seeing, eval_strategy="epoch")
    trainer.train()
    trainer.evaluate()
    assert seen == [True, False]
    assert not trainer.is_in_train


def test_a_model_in_parts_stays_where_it_is() -> None:
    class Spread(Net):
        is_parallelizable = True
        model_parallel = True

    trainer = make_trainer(model=Spread())
    assert trainer.is_model_parallel
    assert not trainer.place_model_on_device
    assert make_trainer().place_model_on_device
    assert not make_trainer().is_model_parallel


def test_arguments_may_say_that_the_model_stays_where_it_is() -> None:
    class Staying(TrainingArguments):
        @property
        def place_model_on_device(self) -> bool:
            return False

    args = Staying("out", use_cpu=True, report_to="none")
    assert not Trainer(make_net(), args, train_dataset=make_samples()).place_model_on_device


# -- training --------------------------------------------------------------------------------------


def test_training_gives_updates_loss_and_metrics() -> None:
    output = make_trainer().train()
    step, loss, metrics = output
    assert (step, loss) == (output.global_step, output.training_loss)
    assert step == 6
    assert {"train_runtime", "train_samples_per_second", "train_steps_per_second", "total_flos"} <= set(
        metrics
    )


def test_training_goes_on_from_a_model_path(tmp_path: Path) -> None:
    options: dict[str, Any] = {"output_dir": tmp_path, "save_strategy": "steps", "save_steps": 2}
    whole = make_trainer(**options)
    whole.train()
    resumed = make_trainer(**options)
    assert resumed.train(model_path=str(tmp_path / "checkpoint-4")).global_step == 6
    assert are_equal(weights_of(whole), weights_of(resumed))
    with pytest.raises(TypeError, match="checkpoint_path"):
        resumed.train(checkpoint_path="x")  # type: ignore[call-arg]


def test_the_argument_of_that_name_is_for_scripts_and_that_is_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    make_trainer(resume_from_checkpoint="out/checkpoint-1").train()
    (record,) = [record for record in caplog.records if "`resume_from_checkpoint`" in record.message]
    assert record.levelno == logging.WARNING
    assert "trainer.train(resume_from_checkpoint=args.resume_from_checkpoint)" in record.message


def test_a_trial_is_a_dict_of_arguments() -> None:
    trainer = make_trainer(model_init=make_net)
    trainer.train(trial={"learning_rate": 0.5, "num_train_epochs": 2})
    rates = [entry["learning_rate"] for entry in trainer.state.log_history if "learning_rate" in entry]
    assert rates[0] == 0.5
    assert len(rates) == 12
    assert trainer.args.learning_rate == 1e-2


def test_outputs_are_left_out_of_evaluations_within_training() -> None:
    shapes: list[Any] = []

    class Two(Net):
        def forward(self, x: Any, labels: Any = None) -> Any:
            return {**super().forward(x, labels), "hidden": x}

    def look(prediction: Any) -> dict[str, float]:
        shapes.append(getattr(prediction.predictions, "shape", len(prediction.predictions)))
        return {}

    trainer = make_trainer(model=Two(), compute_metrics=look, eval_strategy="epoch")
    trainer.train(ignore_keys_for_eval=["hidden"])
    trainer.evaluate()
    assert shapes == [(10, 3), 2]


# -- callbacks -------------------------------------------------------------------------------------


def test_callbacks_are_added_popped_and_removed() -> None:
    class Named(TrainerCallback):
        pass

    trainer, callback = make_trainer(), Named()
    before = list(trainer.callback_handler.callbacks)
    trainer.add_callback(callback)
    trainer.add_callback(Named)
    assert trainer.pop_callback(Named) is callback
    trainer.remove_callback(Named)
    assert trainer.pop_callback(Named) is None
    trainer.remove_callback(Named)
    assert trainer.callback_handler.callbacks == before


# -- accelerator -----------------------------------------------------------------------------------

QUIET = "report_to='none', use_cpu=True, disable_tqdm=True, save_strategy='no', num_train_epochs=1"
SCRIPT = f"""
import sys
from torch import nn
from drivetrain import Trainer, TrainingArguments

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def forward(self, x, labels):
        return {{"loss": nn.functional.cross_entropy(self.layer(x), labels)}}

samples = [{{"x": [0.0, 1.0], "labels": 1}}] * 8
trainer = Trainer(Net(), TrainingArguments("out", {QUIET}), train_dataset=samples, eval_dataset=samples)
trainer.train()
trainer.evaluate()
"""


def run_script(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=folder, check=False
    )


@pytest.mark.slow
def test_training_and_evaluating_import_no_accelerate(tmp_path: Path) -> None:
    done = run_script(f"{SCRIPT}\nassert 'accelerate' not in sys.modules\n", tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_without_accelerate_it_says_what_to_install(tmp_path: Path) -> None:
    code = f"{SCRIPT}\nsys.modules['accelerate'] = None\ntrainer.accelerator\n"
    done = run_script(code, tmp_path)
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert "`accelerator`: it is made with Accelerate, which is not installed" in last
    assert "pip install accelerate" in last


def test_the_accelerator_is_made_once_and_is_one_of_accelerate() -> None:
    accelerate = pytest.importorskip("accelerate")
    trainer = make_trainer()
    assert trainer.accelerator is trainer.accelerator
    assert isinstance(trainer.accelerator, accelerate.Accelerator)
    assert trainer.accelerator.is_main_process
    assert trainer.accelerator.device == trainer.args.device


@pytest.mark.parametrize("options", [{}, {"bf16": True}, {"gradient_accumulation_steps": 3}])
def test_a_step_that_uses_the_accelerator_gives_the_same_weights(options: dict[str, Any]) -> None:
    gathered: list[Any] = []

    class Accelerated(Trainer):
        def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Any:
            model.train()
            inputs = self._prepare_inputs(inputs)
            with self.accelerator.autocast() if self.args.bf16 else nullcontext():
                loss = self.compute_loss(model, inputs)
            loss = loss / self.current_gradient_accumulation_steps
            self.accelerator.backward(loss)
            assert self.accelerator.unwrap_model(model) is self.model
            gathered.append(self.accelerator.gather_for_metrics(inputs["labels"]))
            return loss.detach()

    weights = []
    for cls in (Trainer, Accelerated):
        trainer = make_trainer(cls, **options)
        trainer.train()
        weights.append(weights_of(trainer))
    assert are_equal(*weights)
    assert sum(len(labels) for labels in gathered) == 24


def test_the_accelerator_clips_as_the_trainer_does() -> None:
    norms = []
    for clip in ("trainer", "accelerator"):
        trainer = make_trainer()
        trainer.create_optimizer()
        trainer.training_step(trainer.model, next(iter(trainer.get_eval_dataloader())))
        parameters = list(trainer.model.parameters())
        if clip == "accelerator":
            norm = trainer.accelerator.clip_grad_norm_(parameters, 0.01)
        else:
            norm = nn.utils.clip_grad_norm_(parameters, 0.01)
        norms.append((norm.item(), [p.grad.norm().item() for p in parameters if p.grad is not None]))
    assert norms[0] == norms[1]


# -- searches and the hub --------------------------------------------------------------------------


def test_a_search_trains_with_what_the_searcher_chooses() -> None:
    optuna = pytest.importorskip("optuna")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    trainer = make_trainer(model_init=make_net, eval_strategy="epoch")
    best = trainer.hyperparameter_search(
        hp_space=lambda trial: {
            "learning_rate": trial.suggest_categorical("learning_rate", [1e-9, 0.1])
        },
        n_trials=2,
        direction="minimize",
        backend="optuna",
        sampler=optuna.samplers.GridSampler({"learning_rate": [1e-9, 0.1]}, seed=0),
        pruner=optuna.pruners.NopPruner(),
    )
    assert isinstance(best, BestRun)
    assert best.hyperparameters == {"learning_rate": 0.1}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with FakeHub() as hub:
        hub.connect(monkeypatch)
        yield hub


@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
def test_the_model_is_pushed_into_a_repository(hub: FakeHub, tmp_path: Path) -> None:
    trainer = make_trainer(output_dir=tmp_path / "net", hub_model_id="me/other")
    trainer.init_hf_repo()
    assert list(hub.repos) == ["me/other"]
    trainer.push_to_hub(commit_message="By hand", language="en")
    assert hub.messages("me/other") == ["By hand"]
    assert "model.safetensors" in hub.files("me/other")
    assert b"language: en" in hub.files("me/other")["README.md"].replace(b"\n- ", b" ")


@pytest.mark.parametrize("name", ["push_to_hub", "init_hf_repo"])
def test_without_the_plugin_the_hub_says_what_to_install(
    name: str, our_entries: list[Entry], monkeypatch: pytest.MonkeyPatch
) -> None:
    others = [entry for entry in our_entries if entry.distribution != "drivetrain-hub"]
    monkeypatch.setattr("drivetrain_registry.registry._default", Registry(others))
    trainer = make_trainer()
    with pytest.raises(UsageError, match="pip install drivetrain-hub"):
        getattr(trainer, name)()


def test_without_a_searcher_a_search_says_what_to_install(
    our_entries: list[Entry], monkeypatch: pytest.MonkeyPatch
) -> None:
    others = [entry for entry in our_entries if entry.distribution != "drivetrain-optuna"]
    monkeypatch.setattr("drivetrain_registry.registry._default", Registry(others))
    with pytest.raises(UsageError, match="pip install drivetrain-optuna"):
        make_trainer(model_init=make_net).hyperparameter_search(backend="optuna")


def test_deepspeed_gets_the_arguments_where_there_is_one() -> None:
    trainer = make_trainer()
    trainer.propagate_args_to_deepspeed()
    seen: list[Any] = []
    trainer.strategy.fill_config = lambda *args, **kwargs: seen.append((args, kwargs))  # type: ignore[attr-defined]
    trainer.propagate_args_to_deepspeed(auto_find_batch_size=True)
    assert seen == [((trainer,), {"auto_find_batch_size": True})]

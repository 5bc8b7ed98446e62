"""Runs that transformers' Trainer saved go on here and runs saved here go on there, to the last bit."""

from __future__ import annotations

import functools
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import both_trainers as both
import pytest
import torch
import transformers
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from torch import nn

import drivetrain

pytestmark = [pytest.mark.parity, pytest.mark.slow, pytest.mark.filterwarnings("default")]

STEPS = {"eval_strategy": "steps", "eval_steps": 5, "save_strategy": "steps", "save_steps": 5}
EPOCHS = {"eval_strategy": "epoch", "save_strategy": "epoch", "logging_strategy": "epoch"}
TEXT: dict[str, Any] = {"make_model": both.make_gpt2, "samples": both.text_samples}
EVEN: dict[str, Any] = {"samples": lambda: both.classification_samples(32)}
"""Micro-batches of the same size: where they differ, transformers counts them the same and we by size."""
WAYS = {
    "from transformers to here": (transformers, drivetrain),
    "from here to transformers": (drivetrain, transformers),
}


def make_mixtral(intermediate_size: int = 24) -> Any:
    """A mixture of experts: several weights of the model are saved as many, under other names."""
    torch.manual_seed(7)
    config = transformers.MixtralConfig(
        vocab_size=50,
        hidden_size=16,
        intermediate_size=intermediate_size,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        num_local_experts=3,
        max_position_embeddings=16,
    )
    return transformers.MixtralForCausalLM(config)


def make_adapted() -> nn.Module:
    config = LoraConfig(
        r=2, target_modules=["c_attn"], fan_in_fan_out=True, task_type="CAUSAL_LM", lora_dropout=0.1
    )
    model = both.make_gpt2()
    torch.manual_seed(1)
    return get_peft_model(model, config)


def make_sharded() -> nn.Module:
    model: Any = both.make_gpt2()
    model.save_pretrained = functools.partial(model.save_pretrained, max_shard_size="20KB")
    return model  # type: ignore[no-any-return]


SCENARIOS: dict[str, both.Scenario] = {
    "within an epoch": both.Scenario(STEPS, resume_from=5),
    "at the end of an epoch": both.Scenario(
        {**EPOCHS, "gradient_accumulation_steps": 2}, resume_from=4, **EVEN
    ),
    "after one epoch and a part of the next": both.Scenario(STEPS, resume_from=10),
    "accumulation with a remainder": both.Scenario(
        {"gradient_accumulation_steps": 3, "save_strategy": "steps", "save_steps": 2},
        resume_from=4,
        **EVEN,
    ),
    "a cosine with warm-up": both.Scenario(
        {**STEPS, "lr_scheduler_type": "cosine", "warmup_steps": 7, "weight_decay": 0.1}, resume_from=5
    ),
    "a schedule that waits for the evaluation": both.Scenario(
        {
            **STEPS,
            "eval_steps": 1,
            "lr_scheduler_type": "reduce_lr_on_plateau",
            "lr_scheduler_kwargs": {"patience": 0, "factor": 0.5},
        },
        resume_from=5,
    ),
    "max_steps across epochs": both.Scenario({**STEPS, "max_steps": 20}, resume_from=15),
    "bfloat16": both.Scenario({**STEPS, "bf16": True}, resume_from=5),
    "a stream": both.Scenario({**STEPS, "max_steps": 7}, is_stream=True, resume_from=5),
    "a language model": both.Scenario(
        {**STEPS, "gradient_accumulation_steps": 2, "save_steps": 2, "eval_steps": 2},
        resume_from=2,
        **TEXT,
    ),
    "a language model in shards": both.Scenario(
        STEPS, resume_from=5, make_model=make_sharded, samples=both.text_samples
    ),
    "an adapter": both.Scenario(
        STEPS, resume_from=5, make_model=make_adapted, samples=both.text_samples
    ),
    "input tokens counted": both.Scenario(
        {**STEPS, "include_num_input_tokens_seen": "all"}, resume_from=5, **TEXT
    ),
    "two loading processes": both.Scenario({**STEPS, "dataloader_num_workers": 2}, resume_from=5),
    **{
        f"optim={name}": both.Scenario({**STEPS, "optim": name, "weight_decay": 0.01}, resume_from=5)
        for name in ("adamw_torch_fused", "sgd", "adagrad", "rmsprop", "adafactor")
    },
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", SCENARIOS)
def test_a_run_that_the_other_trainer_saved_goes_on_as_if_it_had_not_stopped(
    name: str, way: str, tmp_path: Path
) -> None:
    scenario, (saving, resuming) = SCENARIOS[name], WAYS[way]
    whole = run_whole(saving, scenario, tmp_path / "whole")
    resumed = resume(resuming, scenario, tmp_path / "whole", tmp_path / "resumed")
    assert_same_weights(whole, resumed)
    assert training_logs(resumed) == training_logs(whole)
    assert_same_checkpoints(tmp_path / "whole", tmp_path / "resumed")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("is_restored", [True, False])
def test_early_stopping_goes_on_counting_and_the_best_model_is_the_same(
    is_restored: bool, way: str, tmp_path: Path
) -> None:
    saving, resuming = WAYS[way]
    whole = train_until_it_stops(saving, tmp_path / "whole")
    assert whole.state.global_step == 8  # the second evaluation is the first that is not better
    folder = tmp_path / "resumed"
    for step in (2, 4):
        shutil.copytree(tmp_path / "whole" / f"checkpoint-{step}", folder / f"checkpoint-{step}")
    resumed = train_until_it_stops(resuming, folder, folder / "checkpoint-4", is_restored)
    assert resumed.state.global_step == (8 if is_restored else 10)
    for name in ("best_metric", "best_global_step"):
        assert getattr(resumed.state, name) == getattr(whole.state, name)
    assert resumed.state.best_global_step == 2
    assert Path(resumed.state.best_model_checkpoint).name == "checkpoint-2"
    for name, weight in whole.model.state_dict().items():
        assert torch.equal(weight, resumed.model.state_dict()[name])
    assert_same(
        weights_in(folder / "checkpoint-8"), weights_in(tmp_path / "whole" / "checkpoint-8"), "8"
    )


def train_until_it_stops(
    library: Any,
    folder: Path,
    checkpoint: Path | None = None,
    is_restored: bool = False,
    callback: Any = None,
) -> Any:
    """Train with a loss that should rise and does not, so that the first evaluation stays the best."""
    samples = both.classification_samples()
    trainer = library.Trainer(
        model=both.make_small_net(),
        args=library.TrainingArguments(
            output_dir=str(folder),
            **{**both.COMMON, **STEPS, "eval_steps": 2, "save_steps": 2},
            load_best_model_at_end=True,
            greater_is_better=True,
            restore_callback_states_from_checkpoint=is_restored,
        ),
        train_dataset=samples,
        eval_dataset=samples[:10],
        callbacks=[callback or library.EarlyStoppingCallback(3)],
    )
    trainer.train(resume_from_checkpoint=checkpoint and str(checkpoint))
    return trainer


def test_the_state_of_a_callback_of_transformers_is_kept_here(tmp_path: Path) -> None:
    def stop() -> Any:
        return transformers.EarlyStoppingCallback(3)

    whole = train_until_it_stops(drivetrain, tmp_path, callback=stop())
    states = json.loads((tmp_path / "checkpoint-4" / "trainer_state.json").read_text())[
        "stateful_callbacks"
    ]
    assert states["EarlyStoppingCallback"]["attributes"] == {"early_stopping_patience_counter": 1}
    resumed = train_until_it_stops(drivetrain, tmp_path, tmp_path / "checkpoint-4", True, stop())
    assert resumed.state.global_step == whole.state.global_step == 8


@pytest.mark.parametrize("saving", [transformers, drivetrain])
def test_a_mixture_of_experts_goes_on_here(saving: Any, tmp_path: Path) -> None:
    scenario = both.Scenario(STEPS, resume_from=5, make_model=make_mixtral, samples=both.text_samples)
    whole = run_whole(saving, scenario, tmp_path / "whole")
    saved = weights_in(tmp_path / "whole" / "checkpoint-5")
    assert not saved.keys() <= whole.weights.keys()
    other = replace(scenario, make_model=lambda: scramble(make_mixtral()))
    resumed = resume(drivetrain, other, tmp_path / "whole", tmp_path / "resumed")
    assert_same_weights(whole, resumed)
    assert training_logs(resumed) == training_logs(whole)


def scramble(model: nn.Module) -> nn.Module:
    """Other weights, so that one that is not loaded is noticed."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    return model


def test_a_mixture_of_experts_of_another_size_is_refused_with_what_differs(tmp_path: Path) -> None:
    from drivetrain.checkpoint.tensors import load_weights

    make_mixtral().save_pretrained(tmp_path)
    with pytest.raises(
        drivetrain.UsageError,
        match=r"do not fit MixtralForCausalLM: .*of another shape .*experts.down_proj.*configuration",
    ):
        load_weights(make_mixtral(intermediate_size=32), tmp_path)


def test_a_mixture_of_experts_that_is_saved_in_the_background_goes_on(tmp_path: Path) -> None:
    arguments = {**STEPS, "async_save": True}
    scenario = both.Scenario(
        arguments, resume_from=5, make_model=make_mixtral, samples=both.text_samples
    )
    whole = run_whole(drivetrain, scenario, tmp_path / "whole")
    assert_same_weights(whole, resume(drivetrain, scenario, tmp_path / "whole", tmp_path / "resumed"))


@pytest.mark.parametrize(
    "name", ["within an epoch", "a language model", "an adapter", "optim=adafactor"]
)
def test_a_run_that_was_saved_in_the_background_goes_on_there(name: str, tmp_path: Path) -> None:
    scenario = SCENARIOS[name]
    in_background = replace(scenario, arguments={**scenario.arguments, "async_save": True})
    whole = run_whole(drivetrain, in_background, tmp_path / "whole")
    resumed = resume(transformers, scenario, tmp_path / "whole", tmp_path / "resumed")
    assert_same_weights(whole, resumed)
    assert training_logs(resumed) == training_logs(whole)


@pytest.mark.parametrize("libraries", [(transformers, drivetrain) * 2, (drivetrain, transformers) * 2])
def test_both_take_turns_in_one_folder(libraries: tuple[Any, ...], tmp_path: Path) -> None:
    scenario = both.Scenario({**STEPS, "save_steps": 4})
    whole = both.run(libraries[0], scenario, tmp_path / "whole")
    for step, library in zip((0, 4, 8, 12), libraries, strict=True):
        last = run_until(library, step + 4, scenario, tmp_path / "turns")
        assert last.state.global_step == step + 4
    for name, weight in whole.weights.items():
        assert torch.equal(last.model.state_dict()[name], weight), name
    assert_same_checkpoints(tmp_path / "whole", tmp_path / "turns")


def run_until(library: Any, last_step: int, scenario: both.Scenario, folder: Path) -> Any:
    """Go on from the newest checkpoint, if there is one, and stop after an update."""

    class Stop(library.TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            control.should_training_stop = state.global_step == last_step

    samples = scenario.samples()
    trainer = library.Trainer(
        model=scenario.make_model(),
        args=library.TrainingArguments(output_dir=str(folder), **{**both.COMMON, **scenario.arguments}),
        train_dataset=samples,
        eval_dataset=samples[:10],
        callbacks=[Stop()],
    )
    trainer.train(resume_from_checkpoint=True if folder.is_dir() and any(folder.iterdir()) else None)
    return trainer


@pytest.mark.parametrize("make_model", [both.make_small_net, both.make_gpt2])
def test_a_run_whose_weights_torch_saved_goes_on_there(make_model: Any, tmp_path: Path) -> None:
    samples = both.text_samples if make_model is both.make_gpt2 else both.classification_samples
    scenario = both.Scenario(STEPS, resume_from=5, make_model=make_model, samples=samples)
    pickled = replace(scenario, arguments={**STEPS, "save_safetensors": False})
    whole = run_whole(drivetrain, pickled, tmp_path / "whole")
    assert (tmp_path / "whole" / "checkpoint-5" / "pytorch_model.bin").is_file()
    resumed = resume(transformers, scenario, tmp_path / "whole", tmp_path / "resumed")
    assert_same_weights(whole, resumed)


def test_a_run_whose_weights_an_earlier_version_of_transformers_saved_with_torch_goes_on_here(
    tmp_path: Path,
) -> None:
    scenario = SCENARIOS["within an epoch"]
    whole = run_whole(transformers, scenario, tmp_path)
    weights = tmp_path / "checkpoint-5" / "model.safetensors"
    torch.save(load_file(weights), weights.with_name("pytorch_model.bin"))
    weights.unlink()
    resumed = resume(drivetrain, scenario, tmp_path, tmp_path / "resumed")
    assert_same_weights(whole, resumed)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("saved_with", ["adamw_torch", "adamw_torch_fused"])
def test_the_fused_and_the_plain_adamw_take_up_each_others_state(
    saved_with: str, way: str, tmp_path: Path
) -> None:
    saving, resuming = WAYS[way]
    goes_on_with = ({"adamw_torch", "adamw_torch_fused"} - {saved_with}).pop()
    run_whole(saving, both.Scenario({**STEPS, "optim": saved_with}), tmp_path)
    scenario = both.Scenario({**STEPS, "optim": goes_on_with}, resume_from=5)
    expected = resume(saving, scenario, tmp_path, tmp_path / "expected")
    assert_same_weights(expected, resume(resuming, scenario, tmp_path, tmp_path / "resumed"))


def test_what_a_run_adds_here_does_not_keep_transformers_from_going_on(tmp_path: Path) -> None:
    """Further files, and further keys of the random state, are passed over there."""
    scenario = SCENARIOS["within an epoch"]
    whole = run_whole(drivetrain, scenario, tmp_path / "whole")
    checkpoint = tmp_path / "whole" / "checkpoint-5"
    file = checkpoint / "rng_state.pth"
    random_state = torch.load(file, weights_only=False)
    torch.save({**random_state, "epoch_begin": random_state}, file)
    torch.save({"0": torch.ones(2)}, checkpoint / "gradients.pt")
    (checkpoint / "progress.json").write_text("{}")
    assert_same_weights(whole, resume(transformers, scenario, tmp_path / "whole", tmp_path / "resumed"))


def run_whole(library: Any, scenario: both.Scenario, folder: Path) -> both.Result:
    return both.run(library, replace(scenario, resume_from=None), folder)


def resume(library: Any, scenario: both.Scenario, source: Path, folder: Path) -> both.Result:
    """Go on from a copy of one checkpoint of another run."""
    name = f"checkpoint-{scenario.resume_from}"
    shutil.copytree(source / name, folder / name)
    return both.run(library, scenario, folder)


def training_logs(result: both.Result) -> list[dict[str, Any]]:
    """All but the last entry: what it says of the run as a whole is transformers' last part of it only."""
    assert "train_loss" in result.logs[-1]
    return result.logs[:-1]


def assert_same_weights(first: both.Result, second: both.Result) -> None:
    assert first.weights.keys() == second.weights.keys()
    for name, weight in first.weights.items():
        assert torch.equal(second.weights[name], weight), f"{name} differs"


def assert_same_checkpoints(whole: Path, resumed: Path) -> None:
    """The last checkpoints have the same optimizer, schedule and state, file by file."""
    last = max(whole.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1])).name
    for name in ("optimizer.pt", "scheduler.pt"):
        assert_same(torch.load(whole / last / name), torch.load(resumed / last / name), name)
    first, second = (read_state(folder / last) for folder in (whole, resumed))
    assert first == second


def read_state(checkpoint: Path) -> dict[str, Any]:
    """What both trainers write of where the run is, without times and the folder of the run."""
    state = json.loads((checkpoint / "trainer_state.json").read_text())
    state["log_history"] = [
        {key: value for key, value in entry.items() if not any(time in key for time in both.TIMES)}
        for entry in state["log_history"]
    ]
    best = state["best_model_checkpoint"]
    state["best_model_checkpoint"] = best and Path(best).name
    return state  # type: ignore[no-any-return]


def weights_in(checkpoint: Path) -> dict[str, torch.Tensor]:
    return load_file(checkpoint / "model.safetensors")


def assert_same(first: Any, second: Any, place: str) -> None:
    """Compare what is nested, tensor by tensor."""
    if isinstance(first, torch.Tensor):
        assert torch.equal(first, second), f"{place} differs"
    elif isinstance(first, dict):
        assert first.keys() == second.keys(), place
        for key in first.keys() - {"lr_lambdas"}:  # attributes of the schedule's function: it has none
            assert_same(first[key], second[key], f"{place}: {key}")
    elif isinstance(first, (list, tuple)):
        assert len(first) == len(second), place
        for index, value in enumerate(first):
            assert_same(value, second[index], f"{place}: {index}")
    else:
        assert first == second, place

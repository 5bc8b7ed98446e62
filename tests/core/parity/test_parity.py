"""The same numbers as transformers' Trainer: every log, every event, every weight, to the last bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import both_trainers as both
import pytest

pytestmark = [pytest.mark.parity, pytest.mark.slow, pytest.mark.filterwarnings("default")]

TEXT = {"make_model": both.make_gpt2, "samples": both.text_samples}
WITH_ACCURACY = {"trainer_options": {"compute_metrics": both.accuracy}}
EVEN: dict[str, Any] = {"samples": lambda: both.classification_samples(32)}
"""Micro-batches of the same size: where they differ, transformers counts them the same and we by size."""
EPOCHS = {"eval_strategy": "epoch", "save_strategy": "epoch", "logging_strategy": "epoch"}
STEPS = {"eval_strategy": "steps", "eval_steps": 5, "save_strategy": "steps", "save_steps": 5}

SCENARIOS: dict[str, Any] = {
    "as it comes": both.Scenario(),
    "accumulation with a remainder": both.Scenario({"gradient_accumulation_steps": 3}, **EVEN),
    "clipping that bites": both.Scenario({"max_grad_norm": 0.05}),
    "weight decay and warm-up": both.Scenario({"weight_decay": 0.1, "warmup_steps": 3}),
    "the last batch left out": both.Scenario({"dataloader_drop_last": True}),
    "max_steps across epochs": both.Scenario(
        {"max_steps": 11, "gradient_accumulation_steps": 2}, **EVEN
    ),
    "a fraction of an epoch": both.Scenario({"num_train_epochs": 1.5}),
    "a seed of its own for the data": both.Scenario({"data_seed": 5, "seed": 6}),
    "evaluation by steps": both.Scenario(
        {"eval_strategy": "steps", "eval_steps": 3, "logging_steps": 2}, **WITH_ACCURACY
    ),
    "evaluation, saving and logging by epochs, and the best model": both.Scenario(
        {**EPOCHS, "load_best_model_at_end": True}
    ),
    "evaluation on start, with a delay": both.Scenario(
        {"eval_strategy": "steps", "eval_steps": 2, "eval_delay": 5, "eval_on_start": True}
    ),
    "a stream that runs dry": both.Scenario(
        {"max_steps": 13, "gradient_accumulation_steps": 3}, is_stream=True, **EVEN
    ),
    "a stream that is long enough": both.Scenario({"max_steps": 6}, is_stream=True),
    "bfloat16": both.Scenario({"bf16": True}),
    "a language model, its loss divided by the labels of the whole update": both.Scenario(
        {"gradient_accumulation_steps": 2, "eval_strategy": "epoch"}, **TEXT
    ),
    "label smoothing": both.Scenario({"label_smoothing_factor": 0.1, "eval_strategy": "epoch"}, **TEXT),
    "label smoothing with accumulation": both.Scenario(
        {"label_smoothing_factor": 0.1, "gradient_accumulation_steps": 2}, **TEXT
    ),
    "NEFTune": both.Scenario({"neftune_noise_alpha": 5.0}, **TEXT),
    "gradient checkpointing": both.Scenario(
        {"gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"use_reentrant": False}},
        **TEXT,
    ),
    "a stream that is evaluated and saved by steps": both.Scenario(
        {**STEPS, "max_steps": 12, "load_best_model_at_end": True}, is_stream=True
    ),
    "the best model by steps": both.Scenario({**STEPS, "load_best_model_at_end": True}),
    "max_steps across epochs, evaluated by epochs": both.Scenario({**EPOCHS, "max_steps": 11}),
    "a fraction of an epoch with accumulation": both.Scenario(
        {"num_train_epochs": 1.25, "gradient_accumulation_steps": 2, **EPOCHS}, **EVEN
    ),
    "input tokens counted": both.Scenario({"include_num_input_tokens_seen": "all"}, **TEXT),
    "resuming within an epoch": both.Scenario(STEPS, resume_from=5),
    "resuming at the end of an epoch": both.Scenario(
        {**EPOCHS, "gradient_accumulation_steps": 2}, resume_from=4, **EVEN
    ),
    "resuming with accumulation": both.Scenario(
        {"gradient_accumulation_steps": 3, "save_strategy": "steps", "save_steps": 2},
        resume_from=4,
        **EVEN,
    ),
    **{
        f"optim={name}": both.Scenario({"optim": name, "weight_decay": 0.01})
        for name in ("adamw_torch_fused", "sgd", "adagrad", "rmsprop", "adafactor")
    },
    **{
        f"lr_scheduler_type={name}": both.Scenario(
            {"lr_scheduler_type": name, "lr_scheduler_kwargs": options, "warmup_steps": 2}
        )
        for name, options in {
            "cosine": {},
            "cosine_with_restarts": {"num_cycles": 2},
            "polynomial": {"power": 2.0},
            "constant": {},
            "constant_with_warmup": {},
            "inverse_sqrt": {},
            "cosine_with_min_lr": {"min_lr_rate": 0.1},
            "warmup_stable_decay": {"num_decay_steps": 4},
        }.items()
    },
    "a schedule that waits for the evaluation": both.Scenario(
        {
            "lr_scheduler_type": "reduce_lr_on_plateau",
            "lr_scheduler_kwargs": {"patience": 0, "factor": 0.5},
            "eval_strategy": "steps",
            "eval_steps": 2,
        }
    ),
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_training_gives_the_same_numbers_as_transformers(name: str, tmp_path: Path) -> None:
    both.compare(SCENARIOS[name], tmp_path)


@pytest.mark.parametrize("optim", ["adamw_torch", "adafactor"])
def test_a_run_that_transformers_saved_goes_on_here(optim: str, tmp_path: Path) -> None:
    scenario = both.Scenario({**STEPS, "optim": optim})
    theirs = both.run(both.transformers, scenario, tmp_path)
    ours = both.run(both.drivetrain, both.Scenario(scenario.arguments, resume_from=5), tmp_path)
    assert_same_weights(theirs, ours)


@pytest.mark.parametrize("optim", ["adamw_torch", "adafactor"])
def test_a_run_that_was_saved_here_goes_on_with_transformers(optim: str, tmp_path: Path) -> None:
    scenario = both.Scenario({**STEPS, "optim": optim})
    ours = both.run(both.drivetrain, scenario, tmp_path)
    theirs = both.run(both.transformers, both.Scenario(scenario.arguments, resume_from=5), tmp_path)
    assert_same_weights(theirs, ours)


def assert_same_weights(theirs: Any, ours: Any) -> None:
    for name, weight in theirs.weights.items():
        assert both.torch.equal(ours.weights[name], weight), f"{name} differs"
    assert ours.logs[-1]["step"] == theirs.logs[-1]["step"]

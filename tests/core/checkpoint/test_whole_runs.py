"""A run that was killed and resumed is the uninterrupted one to the last bit: with every part of a run."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from whole_runs import MIDDLES, Run, differences, run_whole, with_every_step

from drivetrain import (
    EarlyStoppingCallback,
    ExportableState,
    Trainer,
    TrainerCallback,
)
from drivetrain_registry import Entry, default_registry

SLOW = (pytest.mark.slow,)

pytestmark = pytest.mark.slow


class Blocks(nn.Module):
    """Tokens to classes, with what parts ask for: embeddings, two equal blocks, a normalization."""

    gradient_checkpointing_modules = ("blocks.*",)

    def __init__(self) -> None:
        super().__init__()
        self.embeddings = nn.Embedding(20, 8)
        self.blocks = nn.ModuleList([nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.2)) for _ in range(2)])
        self.norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, 3)

    def get_input_embeddings(self) -> nn.Module:
        return self.embeddings

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        return int(inputs["input_ids"].numel())

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, labels: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        hidden = self.embeddings(input_ids)
        for block in self.blocks:
            hidden = hidden + torch.relu(block(hidden))
        hidden = self.norm(hidden) * attention_mask[..., None]
        logits = self.head(hidden.sum(1) / attention_mask.sum(1, keepdim=True))
        if labels is None:
            return {"logits": logits}
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


def make_blocks(seed: int) -> Blocks:
    torch.manual_seed(seed)
    return Blocks()


class Large(Blocks):
    """Out of memory with more than four samples."""

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, labels: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        if self.training and len(input_ids) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory. (That is a test.)")
        return super().forward(input_ids, attention_mask, labels)


class OwnOptimization(Trainer):
    """Makes optimizer and schedule itself."""

    def create_optimizer_and_scheduler(self, num_training_steps: int) -> None:
        self.optimizer = torch.optim.NAdam(self.model.parameters(), lr=1e-2, momentum_decay=0.1)
        self.lr_scheduler = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, max_lr=0.05, total_steps=num_training_steps + 1
        )


def make_large(seed: int) -> Large:
    torch.manual_seed(seed)
    return Large()


class Normalized(nn.Module):
    """Has buffers that training moves."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.2), nn.ReLU(), nn.Linear(8, 3)
        )

    def forward(self, x: torch.Tensor, labels: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        logits = self.layers(x)
        if labels is None:
            return {"logits": logits}
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


def make_normalized(seed: int) -> Normalized:
    torch.manual_seed(seed)
    return Normalized()


def sentences() -> list[dict[str, Any]]:
    drawn = random.Random(3)
    ids = [[drawn.randrange(1, 20) for _ in range(drawn.randrange(2, 9))] for _ in range(20)]
    return [{"input_ids": row, "labels": row[0] % 3} for row in ids]


def pad(features: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    rows = [torch.tensor(feature["input_ids"]) for feature in features]
    ids = nn.utils.rnn.pad_sequence(rows, batch_first=True)
    labels = torch.tensor([feature["labels"] for feature in features])
    return {"input_ids": ids, "attention_mask": (ids > 0).long(), "labels": labels}


def of_text(starts: Any = MIDDLES, make_parts: Any = dict, **arguments: Any) -> Run:
    """A run over sentences; what it is evaluated on is fixed."""
    given = with_every_step(
        data_collator=pad, eval_dataset=sentences()[:7], weight_decay=0.1, logging_steps=2, **arguments
    )
    return Run(given, make_blocks, sentences, make_parts, starts=starts)


LOW_RANK = {"optim_target_modules": ["blocks"], "optim_args": "rank=3, update_proj_gap=2"}
OPTIONS: dict[str, str] = {
    "rmsprop": "momentum=0.9, centered=True",
    "sgd": "momentum=0.9, nesterov=True",
}
OTHER_OPTIMIZERS: dict[str, dict[str, Any]] = {
    "adafactor": {"optim_args": "beta1=0.9, scale_parameter=True"},
    "adamw_torch": {"optim_args": "amsgrad=True", "adam_beta1": 0.8},
}
CANNOT_RUN_HERE = {
    "adamw_apex_fused": "NVIDIA and AMD GPUs",
    "adamw_torch_npu_fused": "NPU",
    "adamw_torch_xla": "TPU",
}
"""Optimizers that a machine without an accelerator cannot run, and what their refusal names."""

OURS = [
    entry
    for entry in default_registry().entries("optimizer")
    if entry.distribution.startswith("drivetrain-") and entry.distribution != "drivetrain-template"
]
RUNNABLE = [
    pytest.param(
        entry.name, marks=() if entry.distribution in ("drivetrain-torch", "drivetrain-galore") else SLOW
    )
    for entry in OURS
    if entry.name not in CANNOT_RUN_HERE and not entry.name.endswith("*")
]


def what_it_needs(name: str) -> dict[str, Any]:
    """The arguments that an optimizer cannot do without, as it says itself."""
    part: Any = default_registry().load("optimizer", name).part
    needs: dict[str, Any] = {**LOW_RANK} if part.targets_modules else {}
    if "gradient_clipping" in part.cannot:
        needs["max_grad_norm"] = 0.0
    if name in OPTIONS:
        needs["optim_args"] = OPTIONS[name]
    return needs


SCHEDULES: dict[str, dict[str, Any]] = {
    "constant": {},
    "constant_with_warmup": {"warmup_steps": 4},
    "cosine": {"warmup_ratio": 0.3},
    "cosine_warmup_with_min_lr": {"lr_scheduler_kwargs": {"min_lr": 1e-4}, "warmup_steps": 2},
    "cosine_with_min_lr": {"lr_scheduler_kwargs": {"min_lr": 1e-4}},
    "cosine_with_restarts": {"lr_scheduler_kwargs": {"num_cycles": 2}},
    "inverse_sqrt": {"warmup_steps": 2},
    "linear": {"warmup_steps": 2},
    "polynomial": {"lr_scheduler_kwargs": {"power": 2.0, "lr_end": 1e-5}},
    "reduce_lr_on_plateau": {
        "lr_scheduler_kwargs": {"patience": 0, "factor": 0.5, "threshold": 10.0},
        "eval_strategy": "steps",
        "eval_steps": 1,
        "metric_for_best_model": "loss",
    },
    "warmup_stable_decay": {"lr_scheduler_kwargs": {"num_decay_steps": 2}, "warmup_steps": 2},
}


class Counting(TrainerCallback, ExportableState):
    """Keeps a count, and draws a random number at each update."""

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.seen: list[float] = []

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.seen.append(round(random.random(), 3))

    def state(self) -> dict[str, Any]:
        return {"args": {"name": self.name}, "attributes": {"seen": list(self.seen)}}


STOPPING = {
    "restore_callback_states_from_checkpoint": True,
    "load_best_model_at_end": True,
    "metric_for_best_model": "loss",
    "eval_strategy": "steps",
    "eval_steps": 1,
    "learning_rate": 0.3,
    "num_train_epochs": 8,
}
FEATURES: dict[str, Run] = {
    "grouping by length": of_text(None, group_by_length=True, include_num_input_tokens_seen=True),
    "counting tokens": of_text(
        include_num_input_tokens_seen="non_padding", include_tokens_per_second=True, async_save=True
    ),
    "NEFTune": of_text(neftune_noise_alpha=5.0),
    "recomputing": of_text(
        gradient_checkpointing=True, gradient_checkpointing_kwargs={"use_reentrant": False}
    ),
    "label smoothing": of_text(label_smoothing_factor=0.1, eval_strategy="epoch"),
    "bf16": of_text(None, bf16=True, eval_strategy="epoch", bf16_full_eval=True),
    "bf16 in the background": of_text(bf16=True, async_save=True, per_device_train_batch_size=4),
    "fp16": of_text(precision="fp16"),
    "full determinism": of_text(full_determinism=True),
    "a model made by model_init": of_text(model_init=lambda: make_blocks(7)),
    "weights without safetensors": of_text(save_safetensors=False),
    "finding the batch size": Run(
        with_every_step(data_collator=pad, auto_find_batch_size=True),
        make_large,
        sentences,
    ),
    "buffers": Run(with_every_step(eval_strategy="epoch"), make_normalized),
    "buffers in the background": Run(with_every_step(async_save=True), make_normalized, starts=MIDDLES),
    "own optimizer and schedule": Run(with_every_step(), trainer=OwnOptimization, starts=MIDDLES),
    "own class of an optimizer": Run(
        with_every_step(optimizer_cls_and_kwargs=(torch.optim.RAdam, {"lr": 1e-2})), starts=MIDDLES
    ),
    "two states of one callback's class": of_text(
        None,
        lambda: {"callbacks": [Counting("a"), Counting("b")]},
        restore_callback_states_from_checkpoint=True,
    ),
    "stopping early": of_text(None, lambda: {"callbacks": [EarlyStoppingCallback(2)]}, **STOPPING),
    "stopping early in the background": of_text(
        None, lambda: {"callbacks": [EarlyStoppingCallback(2)]}, async_save=True, **STOPPING
    ),
}


@pytest.mark.parametrize("name", RUNNABLE)
def test_every_optimizer_goes_on_as_if_it_had_not_stopped(name: str, tmp_path: Path) -> None:
    assert differences(of_text(optim=name, **what_it_needs(name)), tmp_path) == {}


@pytest.mark.parametrize("name", OTHER_OPTIMIZERS)
def test_so_do_states_that_options_add(name: str, tmp_path: Path) -> None:
    run = of_text(optim=name, **OTHER_OPTIMIZERS[name], async_save=True)
    assert differences(run, tmp_path) == {}


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_schedule_goes_on_as_if_it_had_not_stopped(name: str, tmp_path: Path) -> None:
    assert differences(of_text(lr_scheduler_type=name, **SCHEDULES[name]), tmp_path) == {}


def test_no_schedule_is_left_out(our_entries: list[Entry]) -> None:
    names = {entry.name for entry in our_entries if entry.kind.name == "scheduler"}
    assert names == {*SCHEDULES}


@pytest.mark.parametrize("name", CANNOT_RUN_HERE)
def test_the_optimizers_that_are_left_out_cannot_run_here_and_say_so(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=CANNOT_RUN_HERE[name]):
        of_text(optim=name, **what_it_needs(name)).make_trainer(tmp_path)


@pytest.mark.parametrize("name", ["stopping early", "stopping early in the background"])
def test_stopping_early_does(name: str, tmp_path: Path) -> None:
    whole = run_whole(FEATURES[name], tmp_path)
    assert 3 < whole.values["global_step"] < whole.values["max_steps"]


def test_the_rate_that_falls_by_evaluations_does(tmp_path: Path) -> None:
    name = "reduce_lr_on_plateau"
    whole = run_whole(of_text(lr_scheduler_type=name, **SCHEDULES[name]), tmp_path)
    assert len({entry["learning_rate"] for entry in whole.values["logs"] if "loss" in entry}) > 2


@pytest.mark.parametrize("name", FEATURES)
def test_every_feature_goes_on_as_if_the_run_had_not_stopped(name: str, tmp_path: Path) -> None:
    determinism = torch.are_deterministic_algorithms_enabled()
    try:
        assert differences(FEATURES[name], tmp_path) == {}
    finally:
        torch.use_deterministic_algorithms(determinism)

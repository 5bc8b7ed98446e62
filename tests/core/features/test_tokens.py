"""`include_num_input_tokens_seen` and `include_tokens_per_second`."""

from __future__ import annotations

import itertools
import json
import logging
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from small import Stream, are_equal, make_trainer, weights_of
from torch import nn

from drivetrain import Trainer, TrainerCallback

LENGTHS = (3, 5, 2, 7, 4, 1, 6, 8)
PAD = 0


class Reader(nn.Module):
    """A model over tokens. forward: ``input_ids`` (batch, length) and ``labels`` (batch,)."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(10, 4)
        self.dropout = nn.Dropout(0.2)
        self.out = nn.Linear(4, 2)

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        logits = self.out(self.dropout(self.embed(input_ids)).mean(dim=1))
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


class Speaker(Reader):
    """The same over another input."""

    main_input_name = "sounds"

    def forward(self, sounds: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:  # type: ignore[override]
        return super().forward(sounds, labels=labels)


class Tokenizer:
    pad_token_id = PAD


class CountReads(TrainerCallback):
    """Notes what the state says after each update."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.seen.append(state.num_input_tokens_seen)


def pad(samples: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    longest = max(len(sample["ids"]) for sample in samples)
    rows = [sample["ids"] + [PAD] * (longest - len(sample["ids"])) for sample in samples]
    return {
        "input_ids": torch.tensor(rows),
        "labels": torch.tensor([sample["label"] for sample in samples]),
    }


def pad_with_mask(samples: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    batch = pad(samples)
    return {**batch, "attention_mask": batch["input_ids"].ne(PAD).long()}


def pad_at_random(samples: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    batch = pad_with_mask(samples)
    hide = random.random() + torch.rand(batch["input_ids"].shape) > 1.5
    return {**batch, "input_ids": batch["input_ids"].masked_fill(hide, 9)}


def make_samples() -> list[dict[str, Any]]:
    return [{"ids": [1 + i % 8] * length, "label": i % 2} for i, length in enumerate(LENGTHS)]


def make_reader(cls: type[Trainer] = Trainer, **options: Any) -> Trainer:
    torch.manual_seed(7)
    defaults: dict[str, Any] = {
        "model": Reader(),
        "train_dataset": make_samples(),
        "eval_dataset": make_samples()[:2],
        "data_collator": pad_with_mask,
        "per_device_train_batch_size": 2,
        "remove_unused_columns": False,
    }
    return make_trainer(cls, **{**defaults, **options})


def logged(trainer: Trainer, name: str = "num_input_tokens_seen") -> list[Any]:
    return [entry[name] for entry in trainer.state.log_history if name in entry]


def batches_of(trainer: Trainer) -> list[Any]:
    return list(trainer.get_train_dataloader())


@pytest.mark.parametrize("value", [True, "all"])
def test_tokens_are_counted_with_padding(value: bool | str) -> None:
    trainer = make_reader(include_num_input_tokens_seen=value)
    sizes = [batch["input_ids"].numel() for batch in batches_of(trainer)]
    trainer.train()
    assert logged(trainer) == [*itertools.accumulate(sizes), sum(sizes)]
    assert trainer.state.num_input_tokens_seen == sum(sizes) > sum(LENGTHS)


@pytest.mark.parametrize(
    "options",
    [{}, {"data_collator": pad, "processing_class": Tokenizer()}],
    ids=["mask", "pad_token_id"],
)
def test_tokens_that_are_no_padding_are_counted(options: dict[str, Any]) -> None:
    trainer = make_reader(include_num_input_tokens_seen="non_padding", num_train_epochs=2, **options)
    sizes = [int(batch["input_ids"].ne(PAD).sum()) for batch in batches_of(trainer)]
    trainer.train()
    assert logged(trainer)[: len(sizes)] == list(itertools.accumulate(sizes))
    assert trainer.state.num_input_tokens_seen == 2 * sum(LENGTHS)


def test_every_micro_batch_of_an_update_counts() -> None:
    trainer = make_reader(include_num_input_tokens_seen="non_padding", gradient_accumulation_steps=4)
    trainer.train()
    assert logged(trainer) == [sum(LENGTHS)] * 2


def test_evaluations_are_not_counted_but_their_logs_have_the_number() -> None:
    trainer = make_reader(include_num_input_tokens_seen="non_padding", eval_strategy="epoch")
    trainer.train()
    (evaluation,) = (entry for entry in trainer.state.log_history if "eval_loss" in entry)
    assert evaluation["num_input_tokens_seen"] == sum(LENGTHS)
    assert "train_tokens_per_second" not in evaluation


def test_without_it_nothing_is_counted_or_logged() -> None:
    trainer = make_reader()
    trainer.train()
    assert trainer.state.num_input_tokens_seen == 0
    assert logged(trainer) == logged(trainer, "train_tokens_per_second") == []


def test_logs_of_training_say_how_many_there_were_a_second() -> None:
    trainer = make_reader(include_num_input_tokens_seen=True)
    trainer.train()
    entries = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert len(entries) == 4
    for entry in entries:
        runtime, speed = entry["train_runtime"], entry["train_tokens_per_second"]
        # The runtime is rounded to a tenth of a millisecond, the speed to a thousandth.
        assert (
            speed * (runtime - 6e-5) - 1
            <= entry["num_input_tokens_seen"]
            <= speed * (runtime + 6e-5) + 1
        )


def test_another_main_input_is_counted() -> None:
    def speak(samples: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        batch = pad(samples)
        return {"sounds": batch["input_ids"], "labels": batch["labels"]}

    trainer = make_reader(model=Speaker(), data_collator=speak, include_num_input_tokens_seen=True)
    trainer.train()
    assert trainer.state.num_input_tokens_seen > sum(LENGTHS)


def test_a_model_without_tokens_is_told_once_what_to_declare(caplog: pytest.LogCaptureFixture) -> None:
    trainer = make_trainer(include_num_input_tokens_seen=True)
    trainer.train()
    said = [text for text in caplog.messages if "`include_num_input_tokens_seen`" in text]
    assert len(said) == 1
    assert "no tensor 'input_ids', the main input of Net" in said[0]
    assert "`main_input_name`" in said[0]


def test_where_padding_cannot_be_told_all_are_counted_and_that_is_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    trainer = make_reader(include_num_input_tokens_seen="non_padding", data_collator=pad)
    sizes = [batch["input_ids"].numel() for batch in batches_of(trainer)]
    trainer.train()
    assert trainer.state.num_input_tokens_seen == sum(sizes)
    said = [text for text in caplog.messages if "`include_num_input_tokens_seen`" in text]
    assert len(said) == 1
    assert "all tokens are counted" in said[0]


def test_the_device_is_read_only_to_log() -> None:
    reads = CountReads()
    trainer = make_reader(
        include_num_input_tokens_seen="non_padding", logging_steps=2, callbacks=[reads]
    )
    sizes = [int(batch["input_ids"].ne(PAD).sum()) for batch in batches_of(trainer)]
    trainer.train()
    assert reads.seen == [0, 0, sum(sizes[:2]), sum(sizes[:2])]  # as of the last log


@pytest.mark.parametrize("value", ["all", "non_padding"])
def test_a_run_that_resumes_counts_on(tmp_path: Path, value: str) -> None:
    options = {"include_num_input_tokens_seen": value, "num_train_epochs": 2, "logging_steps": 100}
    whole = make_reader(**options, output_dir=tmp_path / "whole")
    whole.train()
    first = make_reader(**options, output_dir=tmp_path / "cut", save_strategy="steps", save_steps=3)
    first.train()
    checkpoint = tmp_path / "cut" / "checkpoint-3"
    saved = json.loads((checkpoint / "trainer_state.json").read_text())["num_input_tokens_seen"]
    sizes = [
        batch["input_ids"].numel() if value == "all" else int(batch["attention_mask"].sum())
        for batch in batches_of(whole)
    ]
    assert saved == sum(sizes[:3])
    resumed = make_reader(**options, output_dir=tmp_path / "cut")
    resumed.train(resume_from_checkpoint=str(checkpoint))
    assert resumed.state.num_input_tokens_seen == whole.state.num_input_tokens_seen


@pytest.mark.parity
@pytest.mark.parametrize("value", [True, "non_padding"])
def test_the_numbers_are_those_of_transformers(tmp_path: Path, value: bool | str) -> None:
    from both_trainers import COMMON, make_gpt2, text_samples, transformers

    import drivetrain

    for sample in (samples := text_samples()):
        sample["attention_mask"] = sample["labels"].ne(-100).long()
    options = {**COMMON, "include_num_input_tokens_seen": value, "gradient_accumulation_steps": 2}
    histories = []
    for library in (transformers, drivetrain):
        args = library.TrainingArguments(str(tmp_path), **options)
        trainer = library.Trainer(model=make_gpt2(), args=args, train_dataset=samples)
        trainer.train()
        histories.append(trainer.state.log_history)
    theirs, ours = ([entry.get("num_input_tokens_seen") for entry in history] for history in histories)
    assert theirs == ours
    assert theirs[-1] > 0
    keys = ("train_runtime", "train_tokens_per_second", "num_input_tokens_seen")
    for their, our in zip(*histories, strict=True):
        assert [key in their for key in keys] == [key in our for key in keys]


# -- include_tokens_per_second ---------------------------------------------------------------------


def tokens_per_run(trainer: Trainer) -> float:
    metrics = trainer.train().metrics
    return metrics["train_tokens_per_second"] * metrics["train_runtime"]


@pytest.mark.parametrize(
    ("options", "num_passes"),
    [({"num_train_epochs": 3}, 3.0), ({"num_train_epochs": 1.5}, 1.5)],
)
def test_the_speed_is_that_of_all_tokens_in_the_training_data(
    options: dict[str, Any], num_passes: float
) -> None:
    trainer = make_reader(include_tokens_per_second=True, **options)
    num_tokens = trainer.num_tokens(trainer.get_train_dataloader())
    assert tokens_per_run(trainer) == pytest.approx(num_passes * num_tokens, rel=0.02)


def test_with_max_steps_the_first_batch_stands_for_all() -> None:
    trainer = make_reader(
        include_tokens_per_second=True,
        max_steps=6,
        gradient_accumulation_steps=2,
        train_dataset=Stream(make_samples()),
    )
    first = next(iter(trainer.get_train_dataloader()))["input_ids"].numel()
    assert tokens_per_run(trainer) == pytest.approx(6 * 2 * first, rel=0.02)


def test_the_speed_of_a_run_that_resumes_is_that_of_the_whole_run(tmp_path: Path) -> None:
    options = {"include_tokens_per_second": True, "num_train_epochs": 2, "output_dir": tmp_path}
    make_reader(**options, save_strategy="steps", save_steps=6).train()
    resumed = make_reader(**options)
    num_tokens = resumed.num_tokens(resumed.get_train_dataloader())
    metrics = resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-6")).metrics
    done = metrics["train_tokens_per_second"] * metrics["train_runtime"]
    assert done == pytest.approx(2 * num_tokens, rel=0.05)


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_counting_disturbs_neither_the_order_nor_the_random_numbers(workers: int) -> None:
    def train(**options: Any) -> dict[str, torch.Tensor]:
        trainer = make_reader(data_collator=pad_at_random, dataloader_num_workers=workers, **options)
        trainer.train()
        return weights_of(trainer)

    plain = train()
    assert are_equal(train(include_tokens_per_second=True), plain)
    assert not are_equal(train(seed=1), plain)


def test_progress_is_shown_unless_it_is_switched_off(capsys: pytest.CaptureFixture[str]) -> None:
    make_reader(include_tokens_per_second=True).train()
    assert "Counting tokens" not in capsys.readouterr().err
    make_reader(include_tokens_per_second=True, disable_tqdm=False).train()
    assert "Counting tokens" in capsys.readouterr().err


def test_data_without_tokens_gives_no_speed_and_that_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        metrics = make_trainer(include_tokens_per_second=True).train().metrics
    assert "`include_tokens_per_second`: no token was found" in caplog.text
    assert "train_tokens_per_second" not in metrics

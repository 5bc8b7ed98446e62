"""Rows of the arguments of the data."""

from __future__ import annotations

import os
from typing import Any

import torch
from small import Net, make_samples
from torch import nn
from torch.utils.data import get_worker_info

from drivetrain import Trainer, default_data_collator
from honesty.observations import Words, inputs_of, order, train_batches
from honesty.table import Case, row, seen


class Whereabouts(torch.utils.data.Dataset):  # type: ignore[type-arg]
    """Samples whose labels are the process that loaded them."""

    def __len__(self) -> int:
        return 24

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"x": torch.ones(6), "labels": os.getpid() if get_worker_info() else 0}


def loading_processes(trainer: Trainer) -> set[int]:
    """Processes that loaded two passes over the data; 0 for this one."""
    loader = trainer.get_train_dataloader()
    return {int(label) for _ in range(2) for batch in loader for label in batch["labels"]}


def number_of_processes(trainer: Trainer) -> int:
    return len(loading_processes(trainer) - {0})


def keys_collated(trainer: Trainer) -> set[str]:
    """The keys of the samples that the collator gets in a training."""
    keys: set[str] = set()

    def collate(samples: list[dict[str, Any]]) -> Any:
        keys.update(*samples)
        return default_data_collator([{k: s[k] for k in ("x", "labels")} for s in samples])

    trainer.data_collator = collate
    trainer.train()
    return keys


class NamedY(nn.Module):
    """A model whose labels are called ``y``."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Net()

    def forward(self, x: torch.Tensor, y: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        outputs: dict[str, torch.Tensor] = self.net(x, y)
        return outputs


@row("label_names", ["y"], model=NamedY)
def label_names(case: Case) -> None:
    samples = [{"x": sample["x"], "y": sample["labels"]} for sample in make_samples(6)]
    without = case.plain().predict(samples)
    assert without.label_ids is None
    assert "test_loss" not in without.metrics
    output = case.changed().predict(samples)
    assert output.label_ids.tolist() == [sample["y"] for sample in samples]
    assert output.metrics["test_loss"] > 0


def make_texts(key: str = "length") -> list[dict[str, Any]]:
    """64 samples of 1 to 9 tokens; under a key, a length that is longer the shorter they are."""
    lengths = torch.randint(1, 10, (64,), generator=torch.Generator().manual_seed(3)).tolist()
    return [{"input_ids": torch.ones(n, dtype=torch.long), "labels": 0, key: 10 - n} for n in lengths]


def pad(samples: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    rows = nn.utils.rnn.pad_sequence([sample["input_ids"] for sample in samples], batch_first=True)
    return {"input_ids": rows, "labels": torch.tensor([sample["labels"] for sample in samples])}


def num_padding(trainer: Trainer) -> int:
    """Tokens of a training that are only there to fill up rows."""
    calls = inputs_of(trainer, trainer.train)
    return sum(int((inputs["input_ids"] == 0).sum()) for inputs in calls)


def width_of_first_batch(trainer: Trainer) -> int:
    return int(inputs_of(trainer, trainer.train)[0]["input_ids"].shape[1])


WORDS: dict[str, Any] = {"model": Words, "data_collator": pad, "eval_dataset": None}


@row("group_by_length", True, train_dataset=make_texts("other"), **WORDS)
def group_by_length(case: Case) -> None:
    assert num_padding(case.changed()) < num_padding(case.plain()) / 2
    assert width_of_first_batch(case.changed()) == 9  # the longest of all come first


@row("length_column_name", "n", group_by_length=True, train_dataset=make_texts("n"), **WORDS)
def length_column_name(case: Case) -> None:
    assert width_of_first_batch(case.plain()) == 9
    assert width_of_first_batch(case.changed()) < 9  # those that "n" calls the longest


@row("ignore_data_skip", True)
def ignore_data_skip(case: Case) -> None:
    case.plain(output_dir="earlier", save_strategy="steps", save_steps=4).train()
    whole = order(case.plain())
    assert order(case.plain(), resume_from_checkpoint="earlier/checkpoint-4") == whole[16:]
    assert order(case.changed(), resume_from_checkpoint="earlier/checkpoint-4") == whole[:8]


@row("dataloader_pin_memory", False)
def dataloader_pin_memory(case: Case) -> None:
    def pins(trainer: Trainer) -> bool:
        vars(trainer.args.strategy_plugin)["device"] = torch.device("cuda", 0)  # memory that GPUs read
        return bool(trainer.get_train_dataloader().pin_memory)

    assert pins(case.plain())
    assert not pins(case.changed())
    assert not case.plain().get_train_dataloader().pin_memory  # on the CPU there is nothing to copy to


def order_of(seed: int) -> list[int]:
    indices: list[int] = torch.randperm(24, generator=torch.Generator().manual_seed(seed)).tolist()
    return indices


ROWS = [
    seen("data_seed", 7, order, order_of(42), order_of(7)),
    seen(
        "dataloader_drop_last",
        True,
        train_batches,
        [4, 4, 2],
        [4, 4],
        train_dataset=make_samples(10),
    ),
    seen("dataloader_num_workers", 1, number_of_processes, 0, 2, train_dataset=Whereabouts()),
    dataloader_pin_memory,
    seen(
        "dataloader_persistent_workers",
        True,
        number_of_processes,
        2,
        1,
        train_dataset=Whereabouts(),
        dataloader_num_workers=1,
    ),
    seen(
        "dataloader_prefetch_factor",
        3,
        lambda trainer: trainer.get_train_dataloader().prefetch_factor,
        2,
        3,
        dataloader_num_workers=1,
    ),
    seen(
        "remove_unused_columns",
        False,
        keys_collated,
        {"x", "labels"},
        {"x", "labels", "extra"},
        train_dataset=[{**sample, "extra": 1} for sample in make_samples()],
    ),
    label_names,
    group_by_length,
    length_column_name,
    ignore_data_skip,
]

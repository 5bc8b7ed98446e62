"""Batches that are read in this process, whatever sampler and data set there are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from small import make_samples, make_trainer
from torch.utils.data import Sampler, default_collate

from drivetrain import Trainer


class Endless(Sampler[int]):
    """Draws samples for ever, and does not say how many."""

    def __iter__(self) -> Iterator[int]:
        while True:
            yield from range(24)


class SaysNone(Sampler[int]):
    """Has samples, and says that it has none."""

    def __iter__(self) -> Iterator[int]:
        return iter(range(24))

    def __len__(self) -> int:
        return 0


class WithSampler(Trainer):
    sampler: Any = None

    def _get_train_sampler(self, *args: Any, **kwargs: Any) -> Any:
        return Endless()

    def _get_eval_sampler(self, *args: Any, **kwargs: Any) -> Any:
        return SaysNone()


def test_a_sampler_need_not_know_its_length() -> None:
    trainer = make_trainer(WithSampler, max_steps=8)
    assert trainer.train().global_step == 8


def test_a_sampler_that_says_a_wrong_length_is_read_to_its_end() -> None:
    trainer = make_trainer(WithSampler, eval_dataset=make_samples())
    assert trainer.predict(make_samples()).predictions.shape[0] == 24


class InBlocks:
    """Hands over a whole block of rows, which it keeps."""

    def __init__(self) -> None:
        samples = make_samples()
        self.blocks = [samples[start : start + 4] for start in range(0, 24, 4)]

    def __len__(self) -> int:
        return 24

    def __getitem__(self, index: int) -> Any:
        return self.blocks[index // 4][index % 4]

    def __getitems__(self, indices: list[int]) -> Any:
        return self.blocks[indices[0] // 4]


def test_a_collator_may_change_the_list_that_it_gets() -> None:
    def collate(features: list[Any]) -> Any:
        features.append(features[0])
        return default_collate(features)

    data = InBlocks()
    make_trainer(train_dataset=data, data_collator=collate, num_train_epochs=2).train()
    assert [len(block) for block in data.blocks] == [4] * 6


class Generates(list[Any]):
    def __getitems__(self, indices: list[int]) -> Any:
        return (self[index] for index in indices)


def test_a_data_set_may_generate_the_samples_of_a_batch() -> None:
    logs = make_trainer(train_dataset=make_samples(), max_steps=3).train().metrics
    of_generated = make_trainer(train_dataset=Generates(make_samples()), max_steps=3).train().metrics
    assert of_generated["train_loss"] == logs["train_loss"]


class Broken(list[Any]):
    def __getitem__(self, index: Any) -> Any:
        if index == 5:
            raise ValueError("a broken sample")
        return super().__getitem__(index)


class Skips(Trainer):
    """Leaves out batches that cannot be read."""

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: Any = None) -> Any:
        while True:
            try:
                return [next(epoch_iterator)], None
            except StopIteration:
                return [], None
            except ValueError:
                continue


def test_a_pass_goes_on_after_a_batch_that_could_not_be_read() -> None:
    options = {"per_device_train_batch_size": 1, "num_train_epochs": 1}
    trainer = make_trainer(Skips, train_dataset=Broken(make_samples()), **options)
    assert trainer.train().global_step == 23


@pytest.mark.parametrize("all_threads", [False, True])
def test_a_profile_has_the_loading_of_each_batch(all_threads: bool) -> None:
    trainer = make_trainer()
    config = torch._C._profiler._ExperimentalConfig(profile_all_threads=all_threads)
    with torch.profiler.profile(experimental_config=config) as profile:
        batches = list(trainer.get_train_dataloader())
    loaded = [event for event in profile.events() or [] if "enumerate(DataLoader)" in event.name]
    assert len(loaded) == len(batches)

"""The order of the samples, and entering an epoch anywhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from small import make_samples, make_trainer
from torch.utils.data import DataLoader

from drivetrain.data.loaders import iterate_epoch
from drivetrain.data.samplers import EpochSampler, LengthGroupedSampler, OneGeneratorSampler


def test_each_epoch_has_an_order_of_its_own_that_depends_on_the_seed_alone() -> None:
    sampler = EpochSampler(range(20), seed=3)
    first = list(sampler)
    torch.rand(5)
    assert list(sampler) == first
    assert sorted(first) == list(range(20))
    sampler.set_epoch(1)
    second = list(sampler)
    assert second != first
    assert second == list(EpochSampler(range(20), seed=4))


@pytest.mark.parametrize("start", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("drop_last", [False, True])
def test_entering_an_epoch_gives_the_batches_that_are_left(start: int, drop_last: bool) -> None:
    def loader() -> Any:
        data = list(range(14))
        sampler = EpochSampler(data, seed=0)
        return DataLoader(data, batch_size=3, sampler=sampler, drop_last=drop_last)  # type: ignore[arg-type]

    whole = [batch.tolist() for batch in iterate_epoch(loader(), epoch=2)]
    rest = [batch.tolist() for batch in iterate_epoch(loader(), epoch=2, start=start)]
    assert rest == whole[start:]
    entered = loader()
    list(iterate_epoch(entered, epoch=2, start=start))
    assert [batch.tolist() for batch in iterate_epoch(entered, epoch=2)] == whole
    assert len(entered) == len(whole)


def make_lengths(count: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).integers(1, 500, count)


KINDS: dict[str, Any] = {
    "each epoch seeded": lambda: EpochSampler(range(203), seed=3),
    "one generator": lambda: OneGeneratorSampler(range(203), seed=3),
    "grouped by length": lambda: LengthGroupedSampler(make_lengths(203), batch_size=4, seed=3),
}


@pytest.mark.parametrize("kind", KINDS)
def test_an_order_depends_on_seed_and_epoch_and_is_entered_anywhere(kind: str) -> None:
    make = KINDS[kind]
    walked = make()
    orders = []
    for epoch in range(4):
        walked.set_epoch(epoch)
        orders.append(list(walked))
        torch.rand(5)
    assert all(sorted(order) == list(range(203)) for order in orders)
    assert len({tuple(order) for order in orders}) == 4
    for epoch in (3, 0, 2):
        entered = make()
        entered.set_epoch(epoch)
        entered.seek(50)
        assert list(entered) == orders[epoch][50:]
        assert list(entered) == orders[epoch]
        walked.set_epoch(epoch)
        assert list(walked) == orders[epoch]
    assert len(walked) == 203


def test_orders_of_one_generator_are_its_draws_one_after_the_other() -> None:
    generator = torch.Generator().manual_seed(3)
    sampler = OneGeneratorSampler(range(20), seed=3)
    for epoch in range(3):
        sampler.set_epoch(epoch)
        assert list(sampler) == torch.randperm(20, generator=generator).tolist()


@pytest.mark.parametrize("count", [1, 5, 64, 1000, 1003])
def test_neighbours_are_of_about_one_length_and_the_longest_of_all_is_first(count: int) -> None:
    lengths = make_lengths(count)
    sampler = LengthGroupedSampler(lengths, batch_size=8, seed=0)
    for epoch in range(3):
        sampler.set_epoch(epoch)
        order = list(sampler)
        assert sorted(order) == list(range(count))
        assert lengths[order[0]] == lengths.max()
        drawn = lengths[order]
        group_size = 8 * max(1, min(50, count // 32))
        for start in range(0, count, group_size):
            group = drawn[start : start + group_size]
            assert (np.diff(group) <= 0).all()


def test_little_is_padded_in_a_million_samples() -> None:
    lengths = make_lengths(1_000_000)
    order = np.array(list(LengthGroupedSampler(lengths, batch_size=32, seed=0)))
    assert np.bincount(order, minlength=1_000_000).max() == 1
    batches = lengths[order].reshape(-1, 32)
    assert 1 - batches.sum() / (batches.max(axis=1) * 32).sum() < 0.03
    shuffled = lengths.reshape(-1, 32)
    assert 1 - shuffled.sum() / (shuffled.max(axis=1) * 32).sum() > 0.4


def test_no_lengths_give_no_order() -> None:
    assert list(LengthGroupedSampler([], batch_size=4, seed=0)) == []


def test_a_loader_of_ones_own_is_passed_over_batch_by_batch() -> None:
    assert list(iterate_epoch([1, 2, 3, 4], epoch=0, start=2)) == [3, 4]


def test_a_data_set_is_told_the_epoch_if_it_wants_to_know() -> None:
    class Told(list[Any]):
        epoch = -1

        def set_epoch(self, epoch: int) -> None:
            self.epoch = epoch

    data = Told(make_samples())
    make_trainer(train_dataset=data, num_train_epochs=3).train()
    assert data.epoch == 2


def test_the_seed_of_the_data_is_that_of_the_run_unless_given() -> None:
    assert make_trainer(seed=5).get_train_dataloader().sampler.seed == 5  # type: ignore[attr-defined]
    assert make_trainer(seed=5, data_seed=6).get_train_dataloader().sampler.seed == 6  # type: ignore[attr-defined]

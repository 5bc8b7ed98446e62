"""The arithmetic of a run, and the sums of its losses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from small import make_trainer

from drivetrain.loop.meter import LossMeter
from drivetrain.loop.plan import make_plan


class Loader:
    """Something with a number of batches, over a data set with a number of samples."""

    def __init__(self, num_batches: int, batch_size: int) -> None:
        self.dataset = range(num_batches * batch_size)
        self.num_batches = num_batches

    def __len__(self) -> int:
        return self.num_batches


def plan(num_batches: int, start_step: int = 0, **arguments: Any) -> Any:
    return make_plan(make_trainer(**arguments), Loader(num_batches, 4), start_step)


def test_updates_are_counted_with_the_remainder() -> None:
    made = plan(10, gradient_accumulation_steps=4, num_train_epochs=2)
    assert (made.updates_per_epoch, made.max_steps, made.num_epochs) == (3, 6, 2)
    assert [made.batches_at(batch) for batch in (0, 4, 8)] == [4, 4, 2]
    assert made.total_batch_size == 16
    assert made.num_train_samples == 80


def test_a_fraction_of_an_epoch_and_max_steps_end_within_one() -> None:
    half = plan(10, num_train_epochs=1.5)
    assert (half.max_steps, half.num_epochs, half.num_train_samples) == (15, 2, 60)
    steps = plan(10, max_steps=25)
    assert (steps.max_steps, steps.num_epochs, steps.num_train_samples) == (25, 3, 100)


@pytest.mark.parametrize(
    ("start_step", "epoch", "update"), [(0, 0, 0), (2, 0, 2), (3, 1, 0), (5, 1, 2), (6, 2, 0)]
)
def test_a_resumed_run_knows_where_it_starts(start_step: int, epoch: int, update: int) -> None:
    made = plan(10, start_step, gradient_accumulation_steps=4, num_train_epochs=3)
    assert (made.start_epoch, made.start_update) == (epoch, update)


def test_a_loader_without_batches_is_an_error() -> None:
    with pytest.raises(ValueError, match="`train_dataset`: it gives no batch"):
        plan(0)


@pytest.mark.parametrize("count", [3, 1500])
def test_the_meter_adds_up_as_adding_at_each_step_on_the_device_would(count: int) -> None:
    losses = torch.rand(count, generator=torch.Generator().manual_seed(0))
    expected = torch.tensor(0.0)
    meter = LossMeter(skip_non_finite=True)
    for loss in losses:
        expected += loss
        meter.add(loss, 0)
    assert meter.take() == expected.item()
    assert meter.take() == 0.0
    assert meter.total == expected.item()


def test_the_meter_counts_a_loss_that_is_not_finite_as_the_mean_of_the_others() -> None:
    meter = LossMeter(skip_non_finite=True)
    for step, loss in enumerate([1.0, 3.0, float("nan"), float("inf")]):
        meter.add(torch.tensor(loss), step)
    sum_after_nan = np.float32(4.0) + np.float32(4.0) / np.float32(3)
    assert meter.take() == pytest.approx(sum_after_nan + sum_after_nan / 4)
    assert meter.num_non_finite == 2
    long = LossMeter(skip_non_finite=True)
    for step in range(2100):
        long.add(torch.tensor(float("nan") if step % 7 == 3 else 1.0), step)
    expected = np.float32(0)
    for step in range(2100):
        expected += expected / np.float32(1 + step) if step % 7 == 3 else np.float32(1)
    assert long.take() == expected
    assert long.num_non_finite == 300
    strict = LossMeter(skip_non_finite=False)
    strict.add(torch.tensor(float("nan")), 0)
    assert np.isnan(strict.take())


def test_losses_of_several_formats_are_added_up_in_float32() -> None:
    meter = LossMeter(skip_non_finite=True)
    for loss in (torch.tensor(100_000), torch.tensor(2.0, dtype=torch.float16), torch.tensor(0.5)):
        meter.add(loss, 0)
    assert meter.take() == 100_002.5

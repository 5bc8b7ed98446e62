"""The order of the samples, and entering an epoch anywhere."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from small import make_samples, make_trainer
from torch.utils.data import DataLoader

from drivetrain.data.loaders import iterate_epoch
from drivetrain.data.samplers import EpochSampler


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


def test_the_loaders_settings_are_those_of_the_arguments() -> None:
    trainer = make_trainer(
        per_device_train_batch_size=5,
        per_device_eval_batch_size=7,
        dataloader_num_workers=2,
        dataloader_prefetch_factor=3,
        dataloader_persistent_workers=True,
        dataloader_drop_last=True,
    )
    loader = trainer.get_train_dataloader()
    assert (loader.batch_size, loader.num_workers, loader.prefetch_factor) == (5, 2, 3)
    assert loader.persistent_workers
    assert len(loader) == 4
    assert trainer.get_eval_dataloader().batch_size == 7
    assert trainer.num_examples(loader) == 24


def test_columns_that_the_model_does_not_take_are_left_out_and_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    datasets = pytest.importorskip("datasets")
    rows = {"x": [[0.0] * 6] * 8, "labels": [0] * 8, "text": ["a"] * 8, "id": list(range(8))}
    with caplog.at_level("INFO", logger="drivetrain"):
        trainer = make_trainer(train_dataset=datasets.Dataset.from_dict(rows))
        assert trainer.get_train_dataloader().dataset.column_names == ["x", "labels"]
        assert (
            "Left out of the training data, for Net.forward does not take them: id, text." in caplog.text
        )
        caplog.clear()
        make_trainer(train_dataset=[{**sample, "id": 1} for sample in make_samples()]).train()
        assert caplog.text.count("does not take them: id.") == 1
    with pytest.raises(ValueError, match=r"none of its columns \(text\) is a parameter of Net.forward"):
        make_trainer(train_dataset=datasets.Dataset.from_dict({"text": ["a"]})).get_train_dataloader()

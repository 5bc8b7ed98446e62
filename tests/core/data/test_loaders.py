"""From data sets and arguments to batches."""

from __future__ import annotations

import random
from collections.abc import Iterator
from multiprocessing import active_children
from typing import Any

import numpy as np
import pytest
import torch
from small import Stream, make_args, make_samples, make_trainer
from torch.utils.data import IterableDataset, SequentialSampler

from drivetrain.data.loaders import close, iterate_epoch, train_sampler


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
    assert not trainer.get_eval_dataloader().persistent_workers
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
        dataset: Any = trainer.get_train_dataloader().dataset
        assert dataset.column_names == ["x", "labels"]
        assert (
            "Left out of the training data, for Net.forward does not take them: id, text." in caplog.text
        )
        caplog.clear()
        make_trainer(train_dataset=[{**sample, "id": 1} for sample in make_samples()]).train()
        assert caplog.text.count("does not take them: id.") == 1
    with pytest.raises(ValueError, match=r"none of its columns \(text\) is a parameter of Net.forward"):
        make_trainer(train_dataset=datasets.Dataset.from_dict({"text": ["a"]})).get_train_dataloader()


def test_what_the_data_came_in_as_is_named_when_no_column_is_for_the_model() -> None:
    datasets = pytest.importorskip("datasets")
    trainer = make_trainer(eval_dataset=datasets.Dataset.from_dict({"text": ["a"]}))
    with pytest.raises(ValueError, match=r"`eval_dataset`: none of its columns"):
        trainer.get_eval_dataloader()


def test_a_data_set_without_an_index_is_refused_with_what_can_be_passed() -> None:
    trainer = make_trainer(train_dataset=(sample for sample in make_samples()))
    with pytest.raises(
        ValueError, match=r"`train_dataset`: a generator has no samples by index. Pass a list"
    ):
        trainer.get_train_dataloader()


def test_evaluation_leaves_out_no_sample_when_training_does() -> None:
    trainer = make_trainer(dataloader_drop_last=True, per_device_eval_batch_size=4)
    assert len(trainer.predict(make_samples(10)).predictions) == 10
    assert isinstance(trainer.get_eval_dataloader().sampler, SequentialSampler)
    assert sum(len(batch["labels"]) for batch in trainer.get_train_dataloader()) == 24
    trainer = make_trainer(train_dataset=make_samples(10), dataloader_drop_last=True)
    assert [len(batch["labels"]) for batch in trainer.get_train_dataloader()] == [4, 4]


def test_a_stream_leaves_out_its_last_batch_if_asked() -> None:
    trainer = make_trainer(
        train_dataset=Stream(make_samples(10)), dataloader_drop_last=True, max_steps=2
    )
    assert [len(batch["labels"]) for batch in trainer.get_train_dataloader()] == [4, 4]


def test_memory_is_pinned_only_where_there_is_a_gpu_to_copy_to() -> None:
    assert not make_trainer(dataloader_pin_memory=True).get_train_dataloader().pin_memory


class Draws(list[Any]):
    """Samples whose ``x`` is a draw from each of the three generators."""

    def __getitem__(self, index: Any) -> Any:
        draws = (random.random(), float(np.random.rand()), float(torch.rand(())))
        return {**super().__getitem__(index), "x": torch.tensor(draws * 2)}


def draws_of(loader: Any, epoch: int, start: int = 0) -> list[Any]:
    return [batch["x"][:, :3].tolist() for batch in iterate_epoch(loader, epoch, start)]


def drawing_loader(**arguments: Any) -> Any:
    data = Draws(make_samples(20))
    return make_trainer(train_dataset=data, dataloader_num_workers=2, **arguments).get_train_dataloader()


@pytest.mark.parametrize("persists", [False, True])
def test_draws_in_loading_processes_are_all_different_and_the_same_from_any_batch_on(
    persists: bool,
) -> None:
    options = {"dataloader_persistent_workers": persists, "seed": 3}
    whole = drawing_loader(**options)
    epochs = [draws_of(whole, epoch) for epoch in range(2)]
    drawn = np.array(epochs).reshape(-1)
    assert len(np.unique(drawn)) == len(drawn) == 2 * 20 * 3
    torch.rand(1)
    entered, other = drawing_loader(**options), drawing_loader(**{**options, "seed": 4})
    assert draws_of(entered, epoch=1, start=3) == epochs[1][3:]
    assert draws_of(whole, epoch=0) == epochs[0]
    assert draws_of(other, epoch=0) != epochs[0]
    for loader in (whole, entered, other):
        close(loader)


def test_processes_that_live_on_are_the_same_in_the_next_pass_and_end_when_the_loader_is_closed() -> (
    None
):
    before = set(active_children())
    loader = drawing_loader(dataloader_persistent_workers=True)
    draws_of(loader, epoch=0)
    processes = set(active_children()) - before
    assert len(processes) == 2
    draws_of(loader, epoch=1)
    assert set(active_children()) - before == processes
    close(loader)
    assert not any(process.is_alive() for process in processes)
    assert len(draws_of(loader, epoch=2)) == 5
    close(loader)
    close([1, 2])


def test_to_iterate_moves_the_generator_of_this_process_as_the_loader_of_pytorch_does() -> None:
    samples = make_samples(8)
    plain: Any = torch.utils.data.DataLoader(samples, batch_size=4)  # type: ignore[arg-type]
    torch.manual_seed(0)
    list(plain)
    expected = torch.rand(1)
    loader = make_trainer(train_dataset=samples).get_train_dataloader()
    torch.manual_seed(0)
    list(loader)
    assert torch.equal(torch.rand(1), expected)


class Told(Draws):
    """Samples that know the epoch."""

    epoch = -1

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __getitem__(self, index: Any) -> Any:
        return {"x": torch.full((6,), float(self.epoch)), "labels": 0}


def test_processes_do_not_outlive_an_epoch_that_the_data_is_told_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    trainer = make_trainer(
        train_dataset=Told(make_samples(8)), dataloader_num_workers=1, dataloader_persistent_workers=True
    )
    loader = trainer.get_train_dataloader()
    assert "a Told is told the epoch" in caplog.text
    for epoch in range(2):
        assert {row[0] for rows in draws_of(loader, epoch) for row in rows} == {float(epoch)}


class Shuffles(IterableDataset):  # type: ignore[type-arg]
    """A stream in an order drawn from its own generator."""

    def __init__(self) -> None:
        self.generator = torch.Generator()

    def __iter__(self) -> Iterator[Any]:
        for number in torch.randperm(12, generator=self.generator).tolist():
            yield {"x": torch.full((6,), float(number)), "labels": 0}


@pytest.mark.parametrize("num_workers", [0, 1])
def test_the_generator_of_a_stream_is_seeded_for_each_epoch(num_workers: int) -> None:
    trainer = make_trainer(
        train_dataset=Shuffles(), data_seed=5, max_steps=9, dataloader_num_workers=num_workers
    )
    loader = trainer.get_train_dataloader()
    for epoch in (0, 1, 0):
        drawn = [row[0] for rows in draws_of(loader, epoch) for row in rows]
        order = torch.randperm(12, generator=torch.Generator().manual_seed(5 + epoch))
        assert drawn == order.tolist()


def test_a_batch_sampler_of_ones_own_is_told_the_epoch() -> None:
    class Batches(torch.utils.data.BatchSampler):
        epoch = -1

        def set_epoch(self, epoch: int) -> None:
            self.epoch = epoch

    batches = Batches(SequentialSampler(range(6)), 2, False)
    loader: Any = torch.utils.data.DataLoader(list(range(6)), batch_sampler=batches)  # type: ignore[arg-type]
    assert [batch.tolist() for batch in iterate_epoch(loader, epoch=4, start=1)] == [[2, 3], [4, 5]]
    assert batches.epoch == 4


# -- group_by_length --------------------------------------------------------------------------------


TEXTS = [{"input_ids": list(range(1 + 7 * index % 40)), "labels": 0} for index in range(90)]
LENGTHS = [len(text["input_ids"]) for text in TEXTS]  # type: ignore[arg-type]


class Tokenizer:
    model_input_names = ("ids", "attention_mask")


def lengths_of(dataset: Any, processing_class: Any = None, **arguments: Any) -> list[int]:
    args = make_args(group_by_length=True, **arguments)
    sampler: Any = train_sampler(dataset, args, processing_class)
    return list(sampler.lengths)


def test_samples_are_measured_by_their_main_input() -> None:
    assert lengths_of(TEXTS) == LENGTHS
    ids = [{"ids": torch.zeros(length)} for length in LENGTHS]
    assert lengths_of(ids, Tokenizer()) == LENGTHS
    assert lengths_of([{"length": length} for length in LENGTHS]) == LENGTHS
    assert lengths_of([{"n": length} for length in LENGTHS], length_column_name="n") == LENGTHS


def test_columns_are_measured_without_reading_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    rows = {"input_ids": [text["input_ids"] for text in TEXTS], "n": list(range(90))}
    table = datasets.Dataset.from_dict(rows)
    reads = []
    monkeypatch.setattr(datasets.Dataset, "__getitems__", lambda *_: reads.append(1))
    assert lengths_of(table) == LENGTHS
    assert lengths_of(table.with_format("torch")) == LENGTHS
    chosen = [5, 80, 3]
    assert lengths_of(table.select(chosen)) == [LENGTHS[index] for index in chosen]
    assert lengths_of(table.select(chosen), length_column_name="n") == chosen
    assert lengths_of(table.with_format("torch"), length_column_name="n") == list(range(90))
    assert not reads


def test_a_table_whose_samples_are_made_when_read_is_read() -> None:
    datasets = pytest.importorskip("datasets")
    table = datasets.Dataset.from_dict({"text": ["ab", "c"]})
    made = table.with_transform(lambda rows: {"input_ids": [list(text) for text in rows["text"]]})
    assert lengths_of(made) == [2, 1]
    assert lengths_of(table, type("ByText", (), {"model_input_names": ["text"]})) == [2, 1]


def test_a_column_that_is_named_and_not_there_is_said(caplog: pytest.LogCaptureFixture) -> None:
    datasets = pytest.importorskip("datasets")
    table = datasets.Dataset.from_dict({"input_ids": [[1, 2], [3]]})
    assert lengths_of(table, length_column_name="n") == [2, 1]
    assert "`length_column_name`: 'n' is no column of `train_dataset`" in caplog.text


def test_samples_that_cannot_be_measured_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"`group_by_length`: a sample of .* \(has x, labels\) has no 'input_ids'"
    ):
        lengths_of(make_samples())
    with pytest.raises(ValueError, match=r"a sample of `train_dataset` \(tuple\) has no 'input_ids'"):
        lengths_of([(1, 2)])
    with pytest.raises(ValueError, match=r"has no 'input_ids' with a length .*KeyError"):
        lengths_of([*TEXTS, {"labels": 0}])
    with pytest.raises(ValueError, match=r"has no 'input_ids' with a length .*0-d"):
        lengths_of([{"input_ids": torch.tensor(1)}])
    with pytest.raises(ValueError, match=r"`group_by_length`: `train_dataset` is a stream \(Stream\)"):
        lengths_of(Stream(make_samples()))


def test_an_update_has_micro_batches_of_about_one_length() -> None:
    sampler: Any = train_sampler(
        TEXTS, make_args(group_by_length=True, gradient_accumulation_steps=3, data_seed=2)
    )
    assert sampler.batch_size == 12
    assert sampler.seed == 2


def test_evaluation_is_in_the_order_of_the_data_when_training_is_grouped() -> None:
    samples = [{**sample, "length": index} for index, sample in enumerate(make_samples())]
    trainer = make_trainer(train_dataset=samples, group_by_length=True)
    assert trainer.get_train_dataloader().sampler.lengths.tolist() == list(range(24))  # type: ignore[attr-defined]
    assert trainer.predict(samples).label_ids.tolist() == [sample["labels"] for sample in samples]

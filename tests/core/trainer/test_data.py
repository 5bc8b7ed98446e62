"""What a trainer is given to train and evaluate on: tables, streams, dicts, in which order, and resumed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small import are_equal, make_net, make_samples, make_trainer, weights_of
from torch import nn
from torch.utils.data import IterableDataset, TensorDataset, get_worker_info

from drivetrain import TrainerCallback

STEPS: dict[str, Any] = {"save_strategy": "steps", "save_steps": 2}


def as_table(samples: list[dict[str, Any]], **columns: list[Any]) -> Any:
    datasets = pytest.importorskip("datasets")
    rows = {"x": [sample["x"].tolist() for sample in samples], "labels": [s["labels"] for s in samples]}
    return datasets.Dataset.from_dict({**rows, **columns})


# -- resuming ---------------------------------------------------------------------------------------


def with_lengths() -> list[dict[str, Any]]:
    return [{**sample, "length": 7 * index % 24} for index, sample in enumerate(make_samples())]


class Noisy(list[Any]):
    """Samples with noise from all three generators, drawn when they are read."""

    def __getitem__(self, index: Any) -> Any:
        sample = super().__getitem__(index)
        noise = random.random() + float(np.random.rand()) + float(torch.rand(()))
        return {**sample, "x": sample["x"] + 0.1 * noise}


class NoisyStream(IterableDataset):  # type: ignore[type-arg]
    """The same as a stream in a random order, a part of it in each loading process."""

    def __init__(self) -> None:
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[Any]:
        samples, worker = Noisy(make_samples()), get_worker_info()
        first, step = (0, 1) if worker is None else (worker.id, worker.num_workers)
        order = torch.randperm(24, generator=torch.Generator().manual_seed(self.epoch)).tolist()
        yield from (samples[index] for index in order[first::step])


IN_PROCESSES = {"dataloader_num_workers": 2}
RESUMING: dict[str, Any] = {
    "grouped by length": lambda: {"train_dataset": with_lengths(), "group_by_length": True},
    "grouped by length, with accumulation": lambda: {
        "train_dataset": with_lengths(),
        "group_by_length": True,
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 2,
    },
    "orders of one generator": lambda: {"accelerator_config": {"use_seedable_sampler": False}},
    "noise": lambda: {"train_dataset": Noisy(make_samples())},
    "noise in processes": lambda: {"train_dataset": Noisy(make_samples()), **IN_PROCESSES},
    "noise in processes that live on": lambda: {
        "train_dataset": Noisy(make_samples()),
        "dataloader_persistent_workers": True,
        **IN_PROCESSES,
    },
    "noise in processes, a stream": lambda: {
        "train_dataset": NoisyStream(),
        **IN_PROCESSES,
    },
    "a table": lambda: {"train_dataset": as_table(make_samples()).with_format("torch")},
    "a shuffled stream of a table": lambda: {
        "train_dataset": as_table(make_samples())
        .to_iterable_dataset(num_shards=3)
        .shuffle(1, buffer_size=8),
    },
    "a shuffled stream of a table in processes that live on": lambda: {
        "train_dataset": as_table(make_samples())
        .to_iterable_dataset(num_shards=2)
        .shuffle(1, buffer_size=8),
        "dataloader_persistent_workers": True,
        **IN_PROCESSES,
    },
}


@pytest.mark.parametrize("name", RESUMING)
def test_resuming_gives_the_weights_of_the_uninterrupted_run_bit_for_bit(
    name: str, tmp_path: Path
) -> None:
    def make(**more: Any) -> Any:
        # Dropout draws from the generator of this process; it has to go on the same, too.
        return make_trainer(output_dir=tmp_path, max_steps=12, **STEPS, **RESUMING[name](), **more)

    whole = make()
    whole.train()
    assert whole.state.global_step == 12
    for step in (2, 6, 8):
        resumed = make(model=make_net(seed=99))
        random.seed(step)  # whatever happened before must not matter
        resumed.train(resume_from_checkpoint=str(tmp_path / f"checkpoint-{step}"))
        assert are_equal(weights_of(whole), weights_of(resumed)), step


def test_loading_processes_that_live_on_end_with_the_training() -> None:
    before = set(active_children())
    during: list[int] = []

    class Counts(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            during.append(len(set(active_children()) - before))

    trainer = make_trainer(
        dataloader_num_workers=2,
        dataloader_persistent_workers=True,
        num_train_epochs=2,
        callbacks=[Counts()],
    )
    trainer.train()
    assert during == [2] * 12
    assert set(active_children()) <= before


# -- the order --------------------------------------------------------------------------------------


class Reads(list[Any]):
    """Keeps which samples were read, in order."""

    def __init__(self, samples: Any) -> None:
        super().__init__(samples)
        self.read: list[int] = []

    def __getitem__(self, index: Any) -> Any:
        self.read.append(index)
        return super().__getitem__(index)


def order_of(samples: Any, **arguments: Any) -> list[int]:
    reads = Reads(samples)
    make_trainer(train_dataset=reads, **arguments).train()
    return reads.read[-24 * int(arguments.get("num_train_epochs", 1)) :]


def test_batches_have_samples_of_about_one_length_and_the_longest_come_first() -> None:
    samples = with_lengths()
    order = order_of(samples, group_by_length=True)
    drawn = [samples[index]["length"] for index in order]
    assert drawn[0] == 23
    assert all(drawn[i : i + 4] == sorted(drawn[i : i + 4], reverse=True) for i in range(0, 24, 4))
    assert order != order_of(samples, group_by_length=True, seed=5)
    assert sorted(order) == list(range(24))


def test_the_main_input_of_the_tokenizer_is_measured() -> None:
    class Tokenizer:
        model_input_names = ("tokens",)

    samples = [{**sample, "tokens": [0] * (index + 1)} for index, sample in enumerate(make_samples())]
    trainer = make_trainer(train_dataset=samples, processing_class=Tokenizer(), group_by_length=True)
    sampler: Any = trainer.get_train_dataloader().sampler
    assert sampler.lengths.tolist() == list(range(1, 25))


@pytest.mark.parametrize(("non_blocking", "asked"), [(None, True), (True, True), (False, False)])
def test_copies_to_the_device_wait_only_if_they_are_to(non_blocking: bool | None, asked: bool) -> None:
    seen: list[bool] = []

    class Elsewhere(torch.Tensor):
        def to(self, *_: Any, **options: Any) -> torch.Tensor:
            seen.append(options["non_blocking"])
            return torch.zeros(4, 6)

    trainer = make_trainer(accelerator_config={"non_blocking": non_blocking})
    x = torch.empty(4, 6, device="meta").as_subclass(Elsewhere)
    trainer.prediction_step(trainer.model, {"x": x}, prediction_loss_only=False)
    assert seen == [asked]


def test_the_seed_of_the_data_decides_the_order_and_nothing_else() -> None:
    samples = make_samples()
    assert order_of(samples, data_seed=5) == order_of(samples, seed=5)
    assert order_of(samples, data_seed=5, seed=6) == order_of(samples, seed=5)
    assert order_of(samples, data_seed=6, seed=5) != order_of(samples, seed=5)


def test_without_a_seedable_sampler_the_orders_are_drawn_from_one_generator() -> None:
    options: dict[str, Any] = {"accelerator_config": {"use_seedable_sampler": False}, "seed": 3}
    generator = torch.Generator().manual_seed(3)
    expected = [index for _ in range(2) for index in torch.randperm(24, generator=generator).tolist()]
    assert order_of(make_samples(), num_train_epochs=2, **options) == expected


def test_a_stream_is_told_the_epoch() -> None:
    stream = NoisyStream()
    make_trainer(train_dataset=stream, max_steps=14).train()
    assert stream.epoch == 2


def test_grouping_a_stream_is_refused_when_training_begins() -> None:
    trainer = make_trainer(train_dataset=NoisyStream(), max_steps=2, group_by_length=True)
    with pytest.raises(
        ValueError, match=r"`group_by_length`: `train_dataset` is a stream \(NoisyStream\)"
    ):
        trainer.train()


# -- kinds of data ----------------------------------------------------------------------------------


def test_a_table_trains_as_the_list_of_its_rows_does() -> None:
    samples = make_samples()
    plain = make_trainer(train_dataset=samples)
    plain.train()
    for table in (as_table(samples), as_table(samples).with_format("torch", columns=["x", "labels"])):
        trainer = make_trainer(train_dataset=table, eval_dataset=table)
        trainer.train()
        assert are_equal(weights_of(trainer), weights_of(plain))
        assert trainer.evaluate()["eval_loss"] == trainer.evaluate(samples)["eval_loss"]


def test_a_stream_of_a_table_trains_and_loses_its_other_columns(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stream = as_table(make_samples(), id=list(range(24))).to_iterable_dataset(num_shards=2)
    unknown = stream.map(lambda row: {"twice": 2 * row["id"]})
    assert unknown.column_names is None
    for data, dropped in ((stream, "id"), (unknown, "id, twice")):
        caplog.clear()
        with caplog.at_level("INFO", logger="drivetrain"):
            trainer = make_trainer(train_dataset=data, eval_dataset=data, max_steps=8)
            trainer.train()
        assert trainer.state.global_step == 8
        assert np.isfinite(trainer.evaluate()["eval_loss"])
        said = f"Left out of the training data, for Net.forward does not take them: {dropped}."
        assert caplog.text.count(said) == 1


def test_columns_stay_if_they_are_not_to_be_removed() -> None:
    table = as_table(make_samples(), id=list(range(24)))
    trainer = make_trainer(train_dataset=table, remove_unused_columns=False)
    kept: Any = trainer.get_train_dataloader().dataset
    assert "id" in kept.column_names
    with pytest.raises(TypeError, match="unexpected keyword argument 'id'"):
        trainer.train()


def test_each_of_several_evaluation_sets_is_evaluated_under_its_name() -> None:
    datasets = pytest.importorskip("datasets")
    tables = datasets.DatasetDict({"a": as_table(make_samples()[:8]), "b": as_table(make_samples()[8:])})
    trainer = make_trainer(eval_dataset=tables, eval_strategy="epoch")
    trainer.train()
    names = {name for entry in trainer.state.log_history for name in entry if name.endswith("loss")}
    assert {"eval_a_loss", "eval_b_loss"} <= names
    assert trainer.evaluate(eval_dataset="b")["eval_loss"] == trainer.evaluate()["eval_b_loss"]


def test_tuples_are_for_a_collator_that_makes_a_dict_of_them() -> None:
    x = torch.stack([sample["x"] for sample in make_samples()])
    data = TensorDataset(x, (x.sum(1) > 0).long())

    def collate(rows: list[Any]) -> dict[str, torch.Tensor]:
        return {
            "x": torch.stack([row[0] for row in rows]),
            "labels": torch.stack([row[1] for row in rows]),
        }

    trainer = make_trainer(train_dataset=data, eval_dataset=data, data_collator=collate)
    trainer.train()
    assert trainer.predict(data).predictions.shape == (24, 3)
    with pytest.raises(TypeError, match=r"`train_dataset`: a sample is a tuple"):
        make_trainer(train_dataset=data).train()


class TwoLabels(nn.Module):
    """forward takes ``start`` and ``end``, which are labels though their names do not say so."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(6, 2)

    def forward(self, x: torch.Tensor, start: Any = None, end: Any = None) -> dict[str, torch.Tensor]:
        outputs = self.inner(x)
        wanted = torch.stack([start, end], dim=1).float()
        return {"loss": nn.functional.mse_loss(outputs, wanted), "outputs": outputs}


def test_labels_are_the_keys_that_are_named() -> None:
    samples = [
        {"x": sample["x"], "start": index, "end": -index} for index, sample in enumerate(make_samples())
    ]
    trainer = make_trainer(
        model=TwoLabels(), train_dataset=samples, eval_dataset=samples, label_names=["start", "end"]
    )
    start, end = trainer.predict(samples).label_ids
    assert start.tolist() == list(range(24))
    assert end.tolist() == [-index for index in range(24)]
    trainer = make_trainer(model=TwoLabels(), train_dataset=samples, eval_dataset=samples)
    assert trainer.predict(samples).label_ids is None


class AnyKeyword(nn.Module):
    """forward takes any keyword; which keys it wants its signature does not say."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(6, 1)

    def forward(self, x: torch.Tensor, **others: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"loss": ((self.inner(x)[:, 0] - others["goal"]) ** 2).mean()}


def test_keys_that_are_named_labels_reach_the_model() -> None:
    samples = [{"x": sample["x"], "goal": 1.0, "id": 3} for sample in make_samples()]
    trainer = make_trainer(model=AnyKeyword(), train_dataset=samples, label_names=["goal"])
    assert set(next(iter(trainer.get_train_dataloader()))) == {"x", "goal"}
    assert trainer.train().training_loss > 0


# -- beside transformers ----------------------------------------------------------------------------


@pytest.mark.parity
@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(
    "arguments",
    [
        {"dataloader_num_workers": 2},
        {
            "dataloader_num_workers": 2,
            "dataloader_persistent_workers": True,
            "dataloader_prefetch_factor": 3,
        },
        {"dataloader_num_workers": 1, "eval_strategy": "epoch", "data_seed": 9},
    ],
)
def test_with_loading_processes_the_numbers_are_those_of_transformers(
    arguments: dict[str, Any], tmp_path: Path
) -> None:
    import both_trainers as both

    both.compare(both.Scenario(arguments), tmp_path)


@pytest.mark.parity
@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_streams_of_tables_give_the_numbers_of_transformers(tmp_path: Path) -> None:
    import both_trainers as both
    import transformers

    import drivetrain

    table = as_table(make_samples(), id=list(range(24))).with_format("torch")
    trained = []
    for library in (transformers, drivetrain):
        trainer = library.Trainer(
            model=both.make_small_net(),
            args=library.TrainingArguments(str(tmp_path), max_steps=14, **both.COMMON),
            train_dataset=table.to_iterable_dataset(num_shards=3).shuffle(seed=1, buffer_size=8),
        )
        trainer.train()
        trained.append(weights_of(trainer))
    assert are_equal(*trained)

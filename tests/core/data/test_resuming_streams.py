"""Resuming data that has no indices, and loaders of the user's own: the very batches of the whole pass."""

from __future__ import annotations

import itertools
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small import make_samples, make_trainer
from torch.utils.data import DataLoader, IterableDataset, RandomSampler, get_worker_info

from drivetrain.checkpoint.random_state import capture_random_state, set_random_state
from drivetrain.checkpoint.tensors import load_tensors, save_tensors
from drivetrain.data.loaders import close, iterate_epoch
from drivetrain.data.positions import position_of

datasets = pytest.importorskip("datasets")
StatefulDataLoader = pytest.importorskip("torchdata.stateful_dataloader").StatefulDataLoader

# torchdata calls a function of PyTorch that is to go.
pytestmark = pytest.mark.filterwarnings("ignore:.*set_vital")

EPOCHS = 4


def sample(number: Any) -> dict[str, Any]:
    return {"x": torch.full((6,), float(number)), "labels": 0}


def share() -> tuple[int, int]:
    process = get_worker_info()
    return (0, 1) if process is None else (process.id, process.num_workers)


class Counts(IterableDataset):  # type: ignore[type-arg]
    """Numbers; begins anew when it has run dry, and not before. Knows nothing of epochs."""

    def __init__(self, count: int = 22) -> None:
        self.count, self.next, self.reads = count, 0, 0

    def __iter__(self) -> Iterator[Any]:
        rank, num_ranks = share()
        while self.next * num_ranks + rank < self.count:
            self.next += 1
            self.reads += 1
            yield sample((self.next - 1) * num_ranks + rank)
        self.next = 0

    def state_dict(self) -> dict[str, Any]:
        return {"next": self.next}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.next = state["next"]


class Begins(Counts):
    """Numbers; begins at the start that it was told once, and else at the first."""

    def __iter__(self) -> Iterator[Any]:
        (rank, num_ranks), start, self.next = share(), self.next, 0
        for number in range(start * num_ranks + rank, self.count, num_ranks):
            self.done = number // num_ranks + 1
            self.reads += 1
            yield sample(number)

    def state_dict(self) -> dict[str, Any]:
        return {"next": self.done if hasattr(self, "done") else 0}


class WithLength(Begins):
    def __len__(self) -> int:
        return self.count


class Shuffles(Begins):
    """Another order in each epoch that it is told."""

    epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[Any]:
        order = torch.randperm(100, generator=torch.Generator().manual_seed(self.epoch))
        for row in super().__iter__():
            yield sample(order[int(row["x"][0])])


class CountsEpochs(Counts):
    """Another order in each pass; counts the passes itself, as part of its state."""

    num_passes = 0

    def __iter__(self) -> Iterator[Any]:
        order = torch.randperm(100, generator=torch.Generator().manual_seed(self.num_passes))
        for row in super().__iter__():
            yield sample(order[int(row["x"][0])])
        self.num_passes += 1

    def state_dict(self) -> dict[str, Any]:
        return {"next": self.next, "num_passes": self.num_passes}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.next, self.num_passes = state["next"], state["num_passes"]


class Draws(Begins):
    """Numbers with noise from each of the three generators."""

    def __iter__(self) -> Iterator[Any]:
        for row in super().__iter__():
            draws = (random.random(), float(np.random.rand()), float(torch.rand(())))
            yield {"x": row["x"] + torch.tensor(draws * 2), "labels": 0}


class Plain(IterableDataset):  # type: ignore[type-arg]
    """No state; another order in each epoch."""

    epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[Any]:
        order = torch.randperm(22, generator=torch.Generator().manual_seed(self.epoch))
        yield from map(sample, order.tolist())


def row_of(number: int) -> dict[str, Any]:
    return {"x": [float(number)] * 6, "labels": 0}


def table(count: int = 41, shards: int = 4) -> Any:
    rows = {"x": [[float(number)] * 6 for number in range(count)], "labels": [0] * count}
    return datasets.Dataset.from_dict(rows).to_iterable_dataset(num_shards=shards)


def generate(shards: list[int]) -> Iterator[Any]:
    for shard in shards:
        for number in range(7):
            yield row_of(100 * shard + number)


def generated() -> Any:
    return datasets.IterableDataset.from_generator(generate, gen_kwargs={"shards": [1, 2, 3, 4]})


def twice(rows: dict[str, Any]) -> dict[str, Any]:
    return {name: [value for value in values for _ in range(2)] for name, values in rows.items()}


HUGGING_FACE: dict[str, Callable[[], Any]] = {
    "sharded": table,
    "mapped": lambda: generated().map(lambda row: {"x": [value + 1 for value in row["x"]]}),
    "mapped in batches": lambda: table().map(twice, batched=True, batch_size=6),
    "filtered": lambda: table().filter(lambda row: row["x"][0] % 3 != 0),
    "interleaved": lambda: datasets.interleave_datasets(
        [table(), generated()], probabilities=[0.6, 0.4], seed=3, stopping_strategy="all_exhausted"
    ),
    "shards shuffled": lambda: table().shuffle(seed=1, buffer_size=1),
    "concatenated": lambda: datasets.concatenate_datasets([table(), generated()]),
    "skipped and formatted": lambda: generated().skip(5).with_format("torch"),
}
STREAMS: dict[str, Callable[[], Any]] = {
    "counts": Counts,
    "begins": Begins,
    "with length": WithLength,
    "shuffles": Shuffles,
}


def loader_of(dataset: Any, num_workers: int = 0, **arguments: Any) -> Any:
    options = {"max_steps": 99, "dataloader_num_workers": num_workers, **arguments}
    return make_trainer(train_dataset=dataset, **options).get_train_dataloader()


def numbers_of(batches: Any) -> list[Any]:
    return [batch["x"][:, :3].tolist() for batch in batches]


def saved_and_read(position: Any, tmp_path: Path) -> Any:
    if position is None:
        return None
    save_tensors(position, tmp_path / "position.pt")
    return load_tensors(tmp_path / "position.pt")


def assert_goes_on(
    make: Callable[[], Any], tmp_path: Path, epoch: int, start: int, is_entered: bool = True
) -> Any:
    """A run of four passes is the same as one that stops at a batch and is resumed by a new loader.

    Random numbers are restored as by the training loop.
    """
    torch.manual_seed(0)
    loader = make()
    whole = [numbers_of(iterate_epoch(loader, number)) for number in range(EPOCHS)]
    close(loader)
    assert len(whole[epoch]) >= start

    torch.manual_seed(0)
    loader = make()
    for number in range(epoch):
        numbers_of(iterate_epoch(loader, number))
    at_beginning = capture_random_state()
    batches = iterate_epoch(loader, epoch)
    taken = list(itertools.islice(batches, start))
    position, at_checkpoint = saved_and_read(position_of(loader), tmp_path), capture_random_state()
    assert numbers_of(taken) == whole[epoch][:start]
    assert (position is not None) == is_entered
    del batches
    close(loader)

    torch.manual_seed(0)
    resumed = make()
    set_random_state(at_beginning)
    batches = iterate_epoch(resumed, epoch, start, position)
    set_random_state(at_checkpoint)
    assert numbers_of(batches) == whole[epoch][start:]
    for number in range(epoch + 1, EPOCHS):
        assert numbers_of(iterate_epoch(resumed, number)) == whole[number]
    close(resumed)
    return resumed


@pytest.mark.parametrize("start", [1, 3, 6])
@pytest.mark.parametrize("epoch", [0, 2])
@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_with_a_state_goes_on_where_it_was_and_reads_nothing_again(
    name: str, epoch: int, start: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    resumed = assert_goes_on(lambda: loader_of(STREAMS[name]()), tmp_path, epoch, start)
    assert resumed.dataset.reads == 22 - min(4 * start, 22) + 22 * (EPOCHS - 1 - epoch)
    assert "again" not in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize(("epoch", "start"), [(0, 1), (1, 3), (0, 6)])
@pytest.mark.parametrize("persists", [False, True])
@pytest.mark.parametrize("make", [*STREAMS.values(), Draws], ids=[*STREAMS, "draws"])
def test_a_stream_with_a_state_in_loading_processes_goes_on_where_it_was(
    make: Callable[[], Any],
    persists: bool,
    epoch: int,
    start: int,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def loader() -> Any:
        return loader_of(make(), 2, dataloader_persistent_workers=persists)

    assert_goes_on(loader, tmp_path, epoch, start)
    assert "again" not in caplog.text


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # on a machine with fewer cores
@pytest.mark.parametrize("start", [1, 4, 6])
def test_three_loading_processes_of_which_some_run_dry_early_go_on_in_the_same_order(
    start: int, tmp_path: Path
) -> None:
    def stream() -> Any:
        return datasets.IterableDataset.from_generator(
            lambda ends: (row_of(100 * end + n) for end in ends for n in range(end)),
            gen_kwargs={"ends": [2, 14, 9]},
        )

    assert_goes_on(lambda: loader_of(stream(), 3), tmp_path, 0, start)


@pytest.mark.parametrize(("epoch", "start"), [(0, 1), (0, 5), (2, 3)])
@pytest.mark.parametrize("name", HUGGING_FACE)
def test_a_stream_of_hugging_face_goes_on_where_it_was(
    name: str, epoch: int, start: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert_goes_on(lambda: loader_of(HUGGING_FACE[name]()), tmp_path, epoch, start)
    assert "again" not in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize(("epoch", "start"), [(0, 1), (2, 3)])
@pytest.mark.parametrize("persists", [False, True])
@pytest.mark.parametrize("name", HUGGING_FACE)
def test_a_stream_of_hugging_face_in_loading_processes_goes_on_where_it_was(
    name: str, persists: bool, epoch: int, start: int, tmp_path: Path
) -> None:
    def loader() -> Any:
        return loader_of(HUGGING_FACE[name](), 2, dataloader_persistent_workers=persists)

    assert_goes_on(loader, tmp_path, epoch, start)


@pytest.mark.parametrize("num_workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_a_shuffle_buffer_is_filled_again_for_its_samples_are_in_no_state(
    num_workers: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def loader() -> Any:
        return loader_of(table().shuffle(seed=1, buffer_size=10), num_workers)

    for epoch, start in ((0, 1), (2, 4)):
        assert_goes_on(loader, tmp_path, epoch, start, is_entered=False)
    assert "Reading 4 batches again" in caplog.text
    assert "leaves out the samples in its shuffle buffer" in caplog.text


@pytest.mark.parametrize("num_workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_a_stream_without_a_state_is_read_again_and_how_to_avoid_it_is_said(
    num_workers: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for epoch, start in ((0, 1), (1, 3)):
        assert_goes_on(lambda: loader_of(Plain(), num_workers), tmp_path, epoch, start, is_entered=False)
    assert "Reading 3 batches again, which were trained on before: a Plain has no indices" in caplog.text
    assert "`state_dict` and `load_state_dict`; add them" in caplog.text
    assert "ignore_data_skip=True" in caplog.text


@pytest.mark.slow
def test_random_numbers_of_processes_that_live_on_are_the_same_when_batches_are_read_again(
    tmp_path: Path,
) -> None:
    class Noise(Plain):
        def __iter__(self) -> Iterator[Any]:
            for row in super().__iter__():
                yield {"x": row["x"] + torch.rand(6), "labels": 0}

    def loader() -> Any:
        return loader_of(Noise(), 2)

    assert_goes_on(loader, tmp_path, 1, 3, is_entered=False)


def test_a_bar_is_shown_while_batches_are_read_again_if_asked(
    capsys: pytest.CaptureFixture[str],
) -> None:
    numbers_of(iterate_epoch(loader_of(Plain()), 0, 3))
    assert capsys.readouterr().err == ""
    numbers_of(iterate_epoch(loader_of(Plain()), 0, 3, show_progress=True))
    assert "Skipping batches already trained on" in capsys.readouterr().err


def test_a_resumed_run_can_be_resumed_again(tmp_path: Path) -> None:
    make = HUGGING_FACE["interleaved"]
    whole = numbers_of(iterate_epoch(loader_of(make()), 1))
    position = None
    for start in range(0, len(whole), 3):
        loader = loader_of(make())
        batches = iterate_epoch(loader, 1, start, position)
        assert numbers_of(itertools.islice(batches, 3)) == whole[start : start + 3]
        position = saved_and_read(position_of(loader), tmp_path)


def test_to_evaluate_on_a_part_of_the_stream_leaves_the_place_in_training_alone(tmp_path: Path) -> None:
    stream = generated()
    whole = numbers_of(iterate_epoch(loader_of(generated().skip(4)), 0))
    trainer = make_trainer(train_dataset=stream.skip(4), eval_dataset=stream.take(4), max_steps=99)
    loader = trainer.get_train_dataloader()
    batches = iterate_epoch(loader, 0)
    for _ in range(2):
        next(batches)
    numbers_of(trainer.get_eval_dataloader())
    assert len(numbers_of(trainer.get_eval_dataloader(stream))) == 4
    next(batches)
    position = saved_and_read(position_of(loader), tmp_path)
    resumed = make_trainer(train_dataset=(again := generated().skip(4)), max_steps=99)
    assert numbers_of(iterate_epoch(resumed.get_train_dataloader(), 0, 3, position)) == whole[3:]
    assert numbers_of(resumed.get_eval_dataloader(again)) == numbers_of(
        resumed.get_eval_dataloader(generated().skip(4))
    )


def test_a_stream_that_counts_its_passes_goes_on_counting(tmp_path: Path) -> None:
    for epoch, start in ((0, 2), (2, 5), (1, 6)):
        assert_goes_on(lambda: loader_of(CountsEpochs()), tmp_path, epoch, start)


@pytest.mark.parametrize("make", [CountsEpochs, Begins, Counts, lambda: HUGGING_FACE["mapped"]()])
def test_what_goes_on_from_one_pass_to_the_next_is_taken_up_at_the_end_of_a_pass(
    make: Callable[[], Any], tmp_path: Path
) -> None:
    loader = loader_of(make())
    whole = []
    for epoch in range(3):
        whole.append(numbers_of(iterate_epoch(loader, epoch)))
        position = saved_and_read(position_of(loader), tmp_path) if epoch == 1 else None
        if epoch == 1:
            at_end = position
    resumed = loader_of(make())
    assert numbers_of(iterate_epoch(resumed, 2, 0, at_end)) == whole[2]


def test_a_pass_that_is_begun_anew_begins_at_its_first_batch() -> None:
    loader = loader_of(Shuffles())
    whole = numbers_of(iterate_epoch(loader, 1))
    next(iterate_epoch(loader, 1))
    assert numbers_of(iterate_epoch(loader_of(Shuffles()), 1, 0, position_of(loader))) == whole


@pytest.mark.slow
def test_a_position_of_other_loading_processes_is_not_used(caplog: pytest.LogCaptureFixture) -> None:
    loader = loader_of(Begins())
    next(iterate_epoch(loader, 0))
    position = position_of(loader)
    other = loader_of(Begins(), 2)
    whole = numbers_of(iterate_epoch(other, 0))
    assert numbers_of(iterate_epoch(other, 0, 1, position)) == whole[1:]
    assert "no position of it that fits (`dataloader_num_workers`" in caplog.text
    close(other)


def test_a_state_that_a_checkpoint_cannot_hold_is_said(caplog: pytest.LogCaptureFixture) -> None:
    class Objects(Begins):
        def state_dict(self) -> dict[str, Any]:
            return {"next": [1, {"a": np.zeros(2)}]}

    loader = loader_of(Objects())
    next(iterate_epoch(loader, 0))
    assert position_of(loader) is None
    assert "the `state_dict` of a Objects holds a ndarray" in caplog.text


def test_data_with_indices_has_no_position_and_is_entered_all_the_same(
    caplog: pytest.LogCaptureFixture,
) -> None:
    loader = loader_of(make_samples())
    whole = numbers_of(iterate_epoch(loader, 1))
    assert position_of(loader) is None
    assert numbers_of(iterate_epoch(loader, 1, 2)) == whole[2:]
    assert "again" not in caplog.text
    assert position_of([1, 2]) is None
    assert position_of(loader_of(Begins())) is None


def test_states_of_loading_processes_need_torchdata_and_it_is_said(tmp_path: Path) -> None:
    script = f"""
import sys
sys.modules["torchdata"] = None
sys.path[:0] = {[str(Path(__file__).parent), str(Path(__file__).parents[2] / "support")]}
from small import make_trainer, Stream, make_samples
from drivetrain.data.loaders import iterate_epoch, close
from drivetrain.data.positions import position_of
class Stateful(Stream):
    def state_dict(self): return {{}}
    def load_state_dict(self, state): pass
def loader():
    return make_trainer(
        train_dataset=Stateful(make_samples()), max_steps=9, dataloader_num_workers=1
    ).get_train_dataloader()
one = loader()
whole = [batch["x"].tolist() for batch in iterate_epoch(one, 0)]
assert position_of(one) is None
assert [batch["x"].tolist() for batch in iterate_epoch(loader(), 0, 2)] == whole[2:]
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert "Reading 2 batches again" in ran.stderr
    assert "Type: pip install torchdata" in ran.stderr


# -- loaders of the user's own ----------------------------------------------------------------------


ROWS: Any = make_samples(22)


@pytest.mark.parametrize("start", [1, 3, 5])
@pytest.mark.parametrize("epoch", [0, 2])
@pytest.mark.parametrize(
    "make",
    [
        lambda: StatefulDataLoader(ROWS, batch_size=4, shuffle=True),
        lambda: StatefulDataLoader(
            ROWS, batch_size=4, shuffle=True, generator=torch.Generator().manual_seed(3)
        ),
        lambda: StatefulDataLoader(ROWS, batch_size=4, sampler=RandomSampler(ROWS)),
        lambda: StatefulDataLoader(
            ROWS,
            batch_size=4,
            sampler=RandomSampler(ROWS, generator=torch.Generator().manual_seed(3)),
        ),
        lambda: StatefulDataLoader(Begins(), batch_size=4),
        lambda: StatefulDataLoader(Counts(), batch_size=4),
        lambda: StatefulDataLoader(table().with_format("torch"), batch_size=4),
        lambda: DataLoader(Begins(), batch_size=4),
        lambda: DataLoader(table().with_format("torch"), batch_size=4),
    ],
)
def test_a_loader_with_a_state_or_over_a_stream_with_one_goes_on_where_it_was(
    make: Callable[[], Any],
    epoch: int,
    start: int,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert_goes_on(make, tmp_path, epoch, start)
    assert "again" not in caplog.text


@pytest.mark.parametrize("stream", [Begins, Counts])
@pytest.mark.parametrize("cls", [DataLoader, StatefulDataLoader])
def test_a_stream_that_was_read_to_its_end_gives_nothing_more_in_that_pass(
    cls: Any, stream: Callable[[], Any], tmp_path: Path
) -> None:
    assert_goes_on(lambda: cls(stream(), batch_size=4), tmp_path, 1, 6)


@pytest.mark.slow
@pytest.mark.parametrize("epoch", [0, 2])
@pytest.mark.parametrize("persists", [False, True])
@pytest.mark.parametrize(
    "make",
    [
        lambda **options: StatefulDataLoader(ROWS, shuffle=True, **options),
        lambda **options: StatefulDataLoader(Counts(), **options),
        lambda **options: StatefulDataLoader(Draws(), **options),
        lambda **options: StatefulDataLoader(table().with_format("torch"), **options),
    ],
)
def test_a_loader_with_a_state_and_processes_goes_on_where_it_was(
    make: Callable[..., Any], persists: bool, epoch: int, tmp_path: Path
) -> None:
    def loader() -> Any:
        return make(batch_size=4, num_workers=2, persistent_workers=persists)

    assert_goes_on(loader, tmp_path, epoch, 3)


@pytest.mark.parametrize("start", [1, 5])
@pytest.mark.parametrize("epoch", [0, 2])
@pytest.mark.parametrize("has_generator", [False, True])
@pytest.mark.parametrize("num_workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_a_plain_loader_that_shuffles_gives_the_same_order_again(
    has_generator: bool, num_workers: int, epoch: int, start: int, tmp_path: Path
) -> None:
    def loader() -> Any:
        generator = torch.Generator().manual_seed(3) if has_generator else None
        return DataLoader(ROWS, batch_size=4, shuffle=True, generator=generator, num_workers=num_workers)

    assert_goes_on(loader, tmp_path, epoch, start, is_entered=has_generator)


@pytest.mark.parametrize(
    "make",
    [
        lambda: DataLoader(ROWS, batch_size=4, shuffle=True, generator=torch.Generator().manual_seed(3)),
        lambda: StatefulDataLoader(ROWS, batch_size=4, shuffle=True),
        lambda: StatefulDataLoader(ROWS, batch_size=4, sampler=RandomSampler(ROWS)),
        lambda: StatefulDataLoader(Begins(), batch_size=4),
        lambda: StatefulDataLoader(Counts(), batch_size=4),
        lambda: StatefulDataLoader(table().with_format("torch"), batch_size=4),
    ],
)
@pytest.mark.parametrize("is_exhausted", [False, True])
def test_a_loader_that_is_taken_up_at_the_end_of_a_pass_gives_the_next(
    make: Callable[[], Any], is_exhausted: bool, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    loader = make()
    first = iterate_epoch(loader, 0)
    for _ in range(11 if "IterableDataset" in str(type(loader.dataset)) else 6):
        next(first)
    if is_exhausted:
        assert next(first, None) is None
    position, states = saved_and_read(position_of(loader), tmp_path), capture_random_state()
    following = [numbers_of(iterate_epoch(loader, epoch)) for epoch in (1, 2)]
    if not following[0]:
        pytest.skip("the stream begins anew only when it is asked for more than it has")
    torch.manual_seed(0)
    resumed = make()
    set_random_state(states)
    assert numbers_of(iterate_epoch(resumed, 1, 0, position)) == following[0]
    assert numbers_of(iterate_epoch(resumed, 2)) == following[1]


def test_a_loader_of_accelerate_without_a_state_is_read_again(tmp_path: Path) -> None:
    data_loader = pytest.importorskip("accelerate.data_loader")

    def loader() -> Any:
        return data_loader.prepare_data_loader(DataLoader(ROWS, batch_size=4), put_on_device=False)

    assert_goes_on(loader, tmp_path, 1, 3, is_entered=False)

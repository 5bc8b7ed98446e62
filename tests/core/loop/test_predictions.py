"""Putting together what batches give, and the mean of their losses."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from drivetrain import UsageError
from drivetrain.loop.evaluation_loss import EvaluationLoss
from drivetrain.loop.predictions import PredictionStore


class Pair(NamedTuple):
    first: Any
    second: Any


def put_together(*batches: Any, **options: Any) -> Any:
    store = PredictionStore(**options)
    for batch in batches:
        store.add(batch)
    return store.result()


def test_without_batches_there_is_nothing() -> None:
    assert put_together() is None
    assert put_together(concatenates=False) is None


def test_nesting_is_kept_and_arrays_are_put_together() -> None:
    def batch(start: int) -> Any:
        ids = torch.arange(start, start + 2)
        return {"pair": Pair(ids, [ids + 10]), "both": (ids, {"deep": ids})}

    whole = put_together(batch(0), batch(2))
    assert type(whole["pair"]) is Pair
    assert type(whole["pair"].second) is list
    assert type(whole["both"]) is tuple
    assert whole["pair"].first.tolist() == [0, 1, 2, 3]
    assert whole["pair"].second[0].tolist() == [10, 11, 12, 13]
    assert whole["both"][1]["deep"].tolist() == [0, 1, 2, 3]


def test_scalars_are_one_a_batch_and_what_is_no_tensor_is_in_a_list() -> None:
    batches = [(torch.tensor(float(n)), None, f"batch {n}", ["a"] * n, np.ones(1)) for n in (1, 2)]
    scalars, nothing, texts, lists, arrays = put_together(*batches)
    assert scalars.tolist() == [1.0, 2.0]
    assert nothing is None
    assert texts == ["batch 1", "batch 2"]
    assert lists == [["a"], ["a", "a"]]
    assert arrays.tolist() == [1.0, 1.0]


def ragged(generator: np.random.Generator, shape: tuple[int, ...], dtype: str) -> list[Any]:
    sizes = generator.integers(1, 9, size=(generator.integers(2, 30), 2))
    return [(generator.random((*size, *shape)) * 9).astype(dtype) for size in sizes]


@pytest.mark.parametrize("dtype", ["float32", "float16", "int64", "int8"])
@pytest.mark.parametrize("shape", [(), (3,), (2, 2)])
def test_rows_of_any_width_are_filled_up_to_the_widest(shape: tuple[int, ...], dtype: str) -> None:
    generator = np.random.default_rng(0)
    for _ in range(20):
        batches = ragged(generator, shape, dtype)
        whole = put_together(*map(torch.from_numpy, batches), padding=-7)
        width = max(batch.shape[1] for batch in batches)
        rest = [(0, 0)] * len(shape)
        filled = [
            np.pad(b, [(0, 0), (0, width - b.shape[1]), *rest], constant_values=-7) for b in batches
        ]
        np.testing.assert_array_equal(whole, np.concatenate(filled))
        assert whole.dtype == dtype


def test_types_that_cannot_hold_the_padding_are_widened_where_there_is_some() -> None:
    flags = torch.tensor([[True, False]])
    assert put_together(flags, flags).dtype == np.bool_
    assert put_together(flags, flags[:, :1]).tolist() == [[1, 0], [1, -100]]
    assert put_together(flags.byte() * 255, flags[:, :1].byte()).tolist() == [[255, 0], [1, -100]]


def test_batches_of_different_types_are_put_together_in_one_that_holds_both() -> None:
    whole = put_together(torch.tensor([1]), torch.tensor([0.5], dtype=torch.float64))
    assert whole.tolist() == [1.0, 0.5]
    assert put_together(torch.ones(1, dtype=torch.bfloat16)).dtype == np.float32


def test_batches_can_be_kept_apart() -> None:
    kept = put_together(
        (torch.ones(2, 3), {"x": torch.ones(1)}), (torch.ones(1, 4, 2), {}), concatenates=False
    )
    assert [item[0].shape for item in kept] == [(2, 3), (1, 4, 2)]
    assert type(kept[0][1]["x"]) is np.ndarray


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ({"x": torch.ones(1)}, {"y": torch.ones(1)}, r"nested differently in two batches \(x; y\)"),
        ((torch.ones(1),), (torch.ones(1), torch.ones(1)), r"nested differently .* \(0; 0, 1\)"),
        (torch.ones(1), (torch.ones(1),), r"nested differently .* \(a tensor; tuple\)"),
        (torch.ones(1, 2, 3), torch.ones(1, 2, 4), r"shape \(1, 2, 3\) in one batch and \(1, 2, 4\)"),
        (torch.ones(1, 2), torch.ones(1), r"shape \(1, 2\) in one batch and \(1,\)"),
    ],
)
def test_what_cannot_be_put_together_is_an_error(first: Any, second: Any, message: str) -> None:
    with pytest.raises(UsageError, match=rf"`eval_do_concat_batches`: .*{message}"):
        put_together(first, second)


@pytest.mark.gpu
@pytest.mark.parametrize("move_every", [None, 1, 2])
def test_what_is_on_a_device_comes_to_host_memory_whole_and_in_order(move_every: int | None) -> None:
    batches = [torch.arange(n, device="cuda").unsqueeze(0) for n in (2, 3, 1)]
    together = put_together(*batches, move_every=move_every)
    assert together.tolist() == [[0, 1, -100], [0, 1, 2], [0, -100, -100]]


def peak_of(make: Callable[[], Any]) -> tuple[int, Any]:
    """Bytes that NumPy and Python held at most beyond what they held before, and what was made."""
    tracemalloc.start()
    try:
        made = make()
        return tracemalloc.get_traced_memory()[1], made
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "widths",
    [[200] * 100, list(range(2, 201, 2)), list(range(200, 0, -2)), [200] * 99 + [199]],
    ids=["of one width", "wider and wider", "narrower and narrower", "with a narrower end"],
)
def test_putting_together_takes_little_more_memory_than_the_whole(widths: list[int]) -> None:
    def batches() -> Iterator[torch.Tensor]:
        return (torch.zeros(50, width) for width in widths)

    peak, whole = peak_of(lambda: put_together(*batches()))
    assert whole.shape == (5000, 200)
    assert peak < 1.15 * whole.nbytes


def test_memory_is_made_once_where_the_number_of_batches_is_known() -> None:
    peak, whole = peak_of(lambda: put_together(*[torch.ones(50, 200)] * 100, num_batches=100))
    assert whole.shape == (5000, 200)
    assert whole.all()
    assert peak < 1.01 * whole.nbytes


@pytest.mark.parametrize("num_batches", [None, 1, 3, 5, 10**6, 10**13, 10**18])
def test_a_number_of_batches_that_was_expected_wrongly_changes_nothing(num_batches: int | None) -> None:
    batches = [torch.full((2, width, 3), width) for width in (4, 2, 2, 5)]
    whole = put_together(*batches, num_batches=num_batches)
    np.testing.assert_array_equal(whole, put_together(*batches))
    assert whole.shape == (8, 5, 3)
    mixed = put_together(torch.ones(2), torch.ones(2, dtype=torch.float64), num_batches=num_batches)
    assert (mixed.dtype, mixed.tolist()) == (np.float64, [1.0] * 4)


@pytest.mark.parametrize("num_samples", [1, 7, 8, 100, 128, 129, 500, 1000, 4097, 70_001])
def test_the_mean_loss_is_that_of_numpy_to_the_last_bit(num_samples: int) -> None:
    generator = torch.Generator().manual_seed(num_samples)
    sizes = [5] * (num_samples // 5) + [num_samples % 5] * (num_samples % 5 > 0)
    losses = torch.rand(len(sizes), generator=generator) * 10
    expected = float(np.repeat(losses.numpy(), sizes).mean())
    folded = EvaluationLoss(num_samples, leaves_out_non_finite=True)
    unknown = EvaluationLoss(None, leaves_out_non_finite=True)
    for loss, size in zip(losses, sizes, strict=True):
        folded.add(loss, size)
        unknown.add(loss, size)
    assert folded.mean() == expected
    assert unknown.mean() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("expected", [1, 200, 5000])
def test_a_number_of_samples_that_was_expected_wrongly_changes_no_more_than_last_bits(
    expected: int,
) -> None:
    loss = EvaluationLoss(expected, leaves_out_non_finite=True)
    for index in range(300):
        loss.add(torch.tensor(float(index)), 3)
    assert loss.mean() == pytest.approx(149.5)


def test_losses_that_are_not_finite_are_left_out_unless_nothing_else_is_there() -> None:
    loss = EvaluationLoss(4, leaves_out_non_finite=True)
    loss.add(torch.tensor(float("nan")), 2)
    loss.add(torch.tensor(3.0), 2)
    assert (loss.mean(), loss.num_left_out) == (3.0, 2)
    only = EvaluationLoss(1, leaves_out_non_finite=True)
    only.add(float("inf"), 1)
    assert only.mean() == float("inf")
    kept = EvaluationLoss(2, leaves_out_non_finite=False)
    kept.add(torch.tensor(float("nan")), 1)
    kept.add(torch.tensor(1.0), 1)
    assert np.isnan(kept.mean())  # type: ignore[arg-type]
    assert EvaluationLoss(0, leaves_out_non_finite=True).mean() is None


def test_losses_of_any_kind_count_in_float32() -> None:
    loss = EvaluationLoss(8, leaves_out_non_finite=False)
    for value in (1, 2.0, torch.tensor([1.0, 3.0]), torch.tensor(3.0, dtype=torch.bfloat16)):
        loss.add(value, 2)  # type: ignore[arg-type]
    assert loss.mean() == 2.0
    large = EvaluationLoss(1, leaves_out_non_finite=False)
    large.add(torch.tensor(1e300, dtype=torch.float64), 1)
    assert large.mean() == float("inf")


def test_the_mean_loss_takes_no_more_memory_for_more_batches() -> None:
    def fold(num_batches: int) -> float | None:
        loss = EvaluationLoss(num_batches, leaves_out_non_finite=True)
        for _ in range(num_batches):
            loss.add(torch.tensor(1.0), 1)
        return loss.mean()

    fold(200)
    few, many = (peak_of(lambda count=count: fold(count))[0] for count in (200, 5_000))  # type: ignore[misc]
    assert many < few + 50_000  # a tensor a batch would be ten times that


def test_memory_for_batches_that_never_come_is_not_copied() -> None:
    store = PredictionStore(num_batches=10**10)
    store.add(torch.ones(2, 3))
    store.add(torch.ones(2, 3, dtype=torch.float64))
    assert store.result().tolist() == [[1.0] * 3] * 4

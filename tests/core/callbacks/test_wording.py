"""Numbers as people read them."""

from __future__ import annotations

import pytest

from drivetrain.callbacks.wording import clock, number, rough, stage_line, stage_of


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.5, "0.5"),
        (7.0, "7"),
        (999.4, "999"),
        (999.9, "1.00k"),
        (12345, "12.3k"),
        (124_439_808, "124M"),
        (999_999, "1.00M"),
        (7.1e9, "7.10B"),
        (2e12, "2.00T"),
    ],
)
def test_large_numbers_have_three_digits_and_a_letter(value: float, text: str) -> None:
    assert rough(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (59.9, "0:59"), (61, "1:01"), (3723, "1:02:03"), (2 * 86400 + 5, "2 d 0:00:05")],
)
def test_times_have_as_many_parts_as_they_need(seconds: float, text: str) -> None:
    assert clock(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.23456, "1.235"),
        (float("nan"), "nan"),
        (1234567, "1,234,567"),
        (True, "True"),
        ("a\n b", "a b"),
    ],
)
def test_values_are_one_short_text(value: object, text: str) -> None:
    assert number(value) == text


def test_metrics_of_an_evaluation_lose_what_all_their_names_begin_with() -> None:
    metrics = {"eval_loss": 0.5, "eval_f1": 0.25, "epoch": 1.0, "eval_runtime": 2.0}
    assert stage_of(metrics) == "eval"
    assert stage_of({"loss": 0.5}) is None
    assert stage_line(metrics, 100) == "evaluation: loss 0.5, f1 0.25 (2 s)"
    assert stage_line({"test_runtime": 2.0, "test_samples_per_second": 1234.0}, 100) == (
        "prediction: done (2 s, 1.23k samples/s)"
    )

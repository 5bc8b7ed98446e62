"""How long a run will take, told from what it took so far."""

from __future__ import annotations

import types
from pathlib import Path

import pytest
from small import make_args

import drivetrain.callbacks.pace as pace_module
from drivetrain.callbacks.pace import EVALUATION, SAVE, Pace, num_to_come
from drivetrain.state import TrainerState


class Clock:
    """A clock that goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(pace_module, "time", types.SimpleNamespace(monotonic=made.monotonic))
    return made


def run_updates(pace: Pace, clock: Clock, steps: range, seconds: float) -> None:
    for step in steps:
        clock.now += seconds
        pace.note_update(step)


def test_nothing_is_said_before_two_updates_are_done(clock: Clock) -> None:
    pace = Pace()
    assert pace.seconds_left(100, {}) is None
    run_updates(pace, clock, range(1, 2), 60)
    assert pace.updates_per_second is None
    run_updates(pace, clock, range(2, 3), 2)
    assert pace.seconds_left(98, {}) == pytest.approx(196)


def test_a_slow_first_update_is_not_taken_for_the_others(clock: Clock) -> None:
    pace = Pace()
    run_updates(pace, clock, range(1, 2), 300)
    run_updates(pace, clock, range(2, 12), 1)
    assert pace.seconds_left(100, {}) == pytest.approx(100)
    assert pace.elapsed == pytest.approx(310)


def test_what_is_left_follows_the_updates_of_late(clock: Clock) -> None:
    pace = Pace()
    run_updates(pace, clock, range(1, 101), 10)
    run_updates(pace, clock, range(101, 201), 1)
    assert pace.updates_per_second == pytest.approx(1)


def test_fast_updates_are_counted_over_half_a_minute(clock: Clock) -> None:
    pace = Pace()
    run_updates(pace, clock, range(1, 10001), 0.01)
    run_updates(pace, clock, range(10001, 14001), 0.02)
    assert pace.updates_per_second == pytest.approx(50, rel=0.01)


def test_evaluations_and_saves_count_as_often_as_they_will_come(clock: Clock) -> None:
    pace = Pace()
    run_updates(pace, clock, range(1, 11), 1)
    clock.now += 40  # two data sets
    pace.set_aside(EVALUATION, 10)
    clock.now += 20
    pace.set_aside(EVALUATION, 10)
    clock.now += 5
    pace.set_aside(SAVE, 10)
    run_updates(pace, clock, range(11, 21), 1)
    assert pace.updates_per_second == pytest.approx(1)
    assert pace.seconds_left(80, {}) == pytest.approx(80)
    assert pace.seconds_left(80, {EVALUATION: 3, SAVE: 2}) == pytest.approx(80 + 3 * 60 + 2 * 5)


def test_what_is_to_come_is_known_from_the_arguments(tmp_path: Path) -> None:
    state = TrainerState(global_step=25, max_steps=100, epoch=1.25, eval_steps=10, save_steps=30)
    steps = make_args(tmp_path, eval_strategy="steps", save_strategy="steps")
    assert num_to_come(steps, state) == {EVALUATION: 8, SAVE: 3}
    epochs = make_args(tmp_path, eval_strategy="epoch", save_strategy="no")
    assert num_to_come(epochs, state) == {EVALUATION: 4, SAVE: 0}
    assert num_to_come(epochs, TrainerState(max_steps=100)) == {EVALUATION: 0, SAVE: 0}

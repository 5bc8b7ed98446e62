"""A long run takes no more memory than a short one."""

from __future__ import annotations

import gc
import sys
from typing import Any

import pytest
import torch
from small import make_samples, make_trainer

from drivetrain import TrainerCallback
from drivetrain.loop.meter import LossMeter

pytestmark = pytest.mark.slow

PERIOD = 128
"""Updates after which everything that comes and goes is where it was: passes, and losses that are kept."""


class Counts(TrainerCallback):
    """Counts what is alive once a period, and puts away what was logged, which is kept on purpose."""

    def __init__(self) -> None:
        self.objects: list[int] = []
        self.blocks: list[int] = []

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        state.log_history.clear()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step % PERIOD == 0:
            gc.collect()
            self.objects.append(len(gc.get_objects()))
            self.blocks.append(sys.getallocatedblocks())


def run_with(counts: Counts, **options: Any) -> Counts:
    """Train 513 updates, a pass each 16 of them."""
    trainer = make_trainer(
        train_dataset=make_samples(64), max_steps=4 * PERIOD + 1, callbacks=[counts], **options
    )
    gc.collect()
    gc.freeze()  # what is there already is not looked through each time
    try:
        trainer.train()
    finally:
        gc.unfreeze()
    return counts


@pytest.mark.parametrize(
    "options",
    [
        {"logging_strategy": "no"},
        {"logging_steps": 10},
        {"logging_strategy": "no", "gradient_accumulation_steps": 2, "group_by_length": True},
    ],
    ids=["no logs", "a log every 10", "accumulation, grouped by length"],
)
def test_nothing_piles_up_from_the_first_hundred_updates_on(options: dict[str, Any]) -> None:
    if options.get("group_by_length"):
        options = {**options, "length_column_name": "labels"}
    counts = run_with(Counts(), **options)
    assert len(counts.objects) == 4
    assert max(counts.objects[1:]) <= counts.objects[0] + 8  # what a pass has under way
    # The collector does not know of numbers; one an update that stays would be seen.
    assert counts.blocks[-1] - counts.blocks[0] < 3 * PERIOD


def test_what_piles_up_in_a_callback_is_seen() -> None:
    class Keeps(Counts):
        def __init__(self) -> None:
            super().__init__()
            self.kept: list[Any] = []

        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.kept.append([state.global_step])

    counts = run_with(Keeps(), logging_strategy="no")
    assert counts.objects[-1] - counts.objects[0] >= 3 * PERIOD


def test_losses_that_are_not_read_for_long_do_not_pile_up() -> None:
    meter = LossMeter(skip_non_finite=True)

    def tensors_alive() -> int:
        return sum(type(thing) is torch.Tensor for thing in gc.get_objects())

    before = tensors_alive()
    for step in range(5000):
        meter.add(torch.ones(()), step)
    assert tensors_alive() - before <= 64
    assert meter.take() == 5000.0

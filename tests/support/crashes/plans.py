"""Runs that are killed at random."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from crashes.calls import Call
from crashes.nursery import Nursery
from crashes.stories import Story, Undisturbed

BEST = {"eval_strategy": "steps", "eval_steps": 2, "load_best_model_at_end": True}
BEST_AT_FIRST = {**BEST, "metric_for_best_model": "eval_loss", "greater_is_better": True}
"""The largest loss, in fact: of the first evaluation, so that its checkpoint outlives many."""

PLANS: dict[str, dict[str, Any]] = {
    "saving every update": {"save_total_limit": 2},
    "keeping the best, evaluated at other updates than saved": {
        **BEST_AT_FIRST,
        "save_steps": 3,
        "save_total_limit": 2,
    },
    "saving the best alone": {**BEST, "save_strategy": "best", "save_total_limit": 1},
    "saving at the ends of epochs, which an accumulation does not divide": {
        "num_train_epochs": 3,
        "save_strategy": "epoch",
        "gradient_accumulation_steps": 4,
        "logging_steps": 3,
    },
    "saving in the background": {"async_save": True, "save_total_limit": 1},
    "keeping the best in the background": {**BEST_AT_FIRST, "async_save": True, "save_total_limit": 2},
}
"""Arguments of runs, each another way to save."""

WITH_LOADING_PROCESSES: dict[str, Any] = {"dataloader_num_workers": 2, "save_total_limit": 2}
"""A run whose loading processes outlive it by up to five seconds when it is killed."""

PLACES = ("open", "write", "write_record", "write_end_of_file", "fsync", "replace", "unlink", "rmdir")
KILLS_IN_A_ROW = 4


def tell_story(rng: random.Random, nursery: Nursery, folder: Path, undisturbed: Undisturbed) -> Story:
    """Kill a run some times, at random instants or at random calls, and let it end.

    Raises:
        AssertionError: Something is lost, damaged or not exact.
    """
    story = Story(nursery, folder, undisturbed)
    for _ in range(rng.randint(1, KILLS_IN_A_ROW)):
        if not kill_somewhere(rng, story):
            return story
    story.finish()
    return story


def kill_somewhere(rng: random.Random, story: Story) -> bool:
    """Kill the run once; return whether that was before its end."""
    if rng.random() < 0.5:
        return story.kill_after(rng.uniform(0, story.undisturbed.seconds))
    call = Call(rng.choice(PLACES), "", rng.randrange(60))
    return story.kill_at(call, rng.randint(1, 5))

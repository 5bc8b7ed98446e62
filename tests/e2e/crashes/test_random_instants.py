"""Processes killed at instants that nobody chose, several times in a row."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from crashes.nursery import Nursery
from crashes.plans import PLANS, WITH_LOADING_PROCESSES, tell_story
from crashes.stories import Story, run_undisturbed

pytestmark = pytest.mark.slow

KILLS_A_PLAN = 8


@pytest.mark.parametrize("arguments", PLANS.values(), ids=PLANS)
def test_a_run_killed_at_random_loses_nothing_and_ends_as_if_undisturbed(
    arguments: dict[str, Any], nursery: Nursery, tmp_path: Path
) -> None:
    undisturbed = run_undisturbed(nursery, tmp_path / "undisturbed", arguments)
    rng, num_kills, num_stories = random.Random(0), 0, 0
    while num_kills < KILLS_A_PLAN:
        story = tell_story(rng, nursery, tmp_path / f"story-{num_stories}", undisturbed)
        num_kills, num_stories = num_kills + story.num_kills, num_stories + 1
    print(f"{num_kills} kills in {num_stories} runs")


def test_no_loading_process_survives_a_kill_and_random_numbers_go_on_as_if_undisturbed(
    nursery: Nursery, tmp_path: Path
) -> None:
    undisturbed = run_undisturbed(nursery, tmp_path / "undisturbed", WITH_LOADING_PROCESSES)
    story = Story(nursery, tmp_path / "story", undisturbed)
    for update in (2, 4):
        assert story.kill_once_saved(update)
    story.finish()
    assert story.num_kills == 2

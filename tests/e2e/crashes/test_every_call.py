"""A process killed before each call of a save that changes a file or a folder."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from crashes.nursery import Nursery
from crashes.saves import SAVES, Save, Shooting, thin_out

pytestmark = pytest.mark.slow

EVERY_WRITE, SOME_WRITES = 1, 12
AT_LEAST = 50


@pytest.mark.parametrize("save", SAVES.values(), ids=SAVES)
def test_a_kill_at_any_call_of_a_save_loses_nothing_and_the_run_ends_as_if_undisturbed(
    save: Save, nursery: Nursery, tmp_path: Path
) -> None:
    shooting = Shooting(save, nursery, tmp_path)
    calls = thin_out(
        shooting.list_calls(), EVERY_WRITE if save is SAVES["the first of a run"] else SOME_WRITES
    )
    num_kills = shooting.kill_at(calls)
    names = Counter(call.name for call in calls)
    print(f"{num_kills} kills: {dict(names)}")
    assert names.keys() >= {
        "mkdir",
        "open",
        "write",
        "write_record",
        "serialize_file",
        "fsync",
        "replace",
    }
    assert num_kills >= AT_LEAST


def test_processes_are_killed_more_than_200_times() -> None:
    assert AT_LEAST * len(SAVES) >= 200

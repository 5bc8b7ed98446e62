"""A process killed at system calls of a save, those of C++ and Rust among them; and what it flushes when."""

from __future__ import annotations

from pathlib import Path

import pytest
from crashes.nursery import Nursery
from crashes.power import Disk
from crashes.saves import SAVES, Save, Shooting
from crashes.system_calls import SystemCall, read_calls, traced, why_not

REASON = why_not()
pytestmark = [pytest.mark.slow, pytest.mark.skipif(REASON is not None, reason=str(REASON))]

TRACED = {
    name: SAVES[name]
    for name in ("of the best model, with rotation", "over one of the same update, the only one")
}
KILLS_A_SAVE = 24


@pytest.mark.parametrize("save", TRACED.values(), ids=TRACED)
def test_a_kill_at_a_system_call_of_a_save_loses_nothing(
    save: Save, nursery: Nursery, tmp_path: Path
) -> None:
    shooting = Shooting(save, nursery, tmp_path)
    points = [call for call in trace(shooting, tmp_path / "calls") if is_of_checkpoint(call)]
    by_name = {(call.name, call.ordinal): call for call in points}
    chosen = list(by_name.values())[:: max(1, len(by_name) // KILLS_A_SAVE)]
    for index, call in enumerate(chosen):
        story = shooting.prepare(f"{index}-{call.name}")
        child = nursery.fork(shooting.make_run(story))
        with traced(child, tmp_path / "log", kill_at=call):
            child.release()
        assert story.observe(child, f"at {call.text}", is_set_back=shooting.is_set_back), call
        story.finish()
    print(f"{len(chosen)} kills at {len(by_name)} system calls")


@pytest.mark.parametrize("name", SAVES)
def test_a_failure_of_the_power_would_lose_nothing_either(
    name: str, nursery: Nursery, tmp_path: Path
) -> None:
    shooting = Shooting(SAVES[name], nursery, tmp_path)
    disk = Disk(tmp_path / "seen")
    disk.follow(trace(shooting, tmp_path / "calls"))
    assert disk.num_published >= 1
    assert disk.faults == []


def trace(shooting: Shooting, log: Path) -> list[SystemCall]:
    """The system calls of a whole process that saves."""
    story = shooting.prepare("seen")
    child = shooting.nursery.fork(shooting.make_run(story))
    with traced(child, log):
        child.release()
    story.observe(child, "by nobody", is_set_back=shooting.is_set_back)
    return read_calls(log)


def is_of_checkpoint(call: SystemCall) -> bool:
    return any("checkpoint-" in str(path) for path in call.paths) and "O_RDONLY" not in call.text

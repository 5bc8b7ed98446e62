"""What looks at killed runs finds what is wrong with them: it would not pass just anything."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from crashes.calls import Call
from crashes.folders import Promise, find_fault
from crashes.nursery import Nursery
from crashes.plans import BEST_AT_FIRST
from crashes.power import Disk
from crashes.stories import Story, run_undisturbed
from crashes.system_calls import read_calls

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def saved(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that saved updates 1 to 6, of which one is the best."""
    return run_undisturbed(nursery, tmp_path_factory.mktemp("saved") / "run", BEST_AT_FIRST).folder


def cut(folder: Path) -> None:
    file = folder / "checkpoint-4" / "optimizer.pt"
    file.write_bytes(file.read_bytes()[:-1])


def flip(folder: Path) -> None:
    file = folder / "checkpoint-5" / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def relabel(folder: Path) -> None:
    (folder / "checkpoint-6").rename(folder / "checkpoint-7")


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "a file cut short": (cut, "optimizer.pt is not what its manifest says"),
    "a bit flipped": (flip, "model.safetensors is not what its manifest says"),
    "a file missing": (lambda folder: (folder / "checkpoint-2" / "rng_state.pth").unlink(), "it has"),
    "another update's": (relabel, "saved after update 6"),
    "the last one lost": (lambda folder: shutil.rmtree(folder / "checkpoint-6"), "save of update 6"),
    "an earlier one lost": (lambda folder: shutil.rmtree(folder / "checkpoint-1"), "told of"),
}


@pytest.mark.parametrize(("damage", "found"), DAMAGE.values(), ids=DAMAGE)
def test_what_is_damaged_or_lost_is_found(
    damage: Callable[[Path], object], found: str, saved: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(saved, folder)
    promise = Promise((1, 2, 3, 4, 5, 6))
    assert find_fault(folder, promise) is None
    damage(folder)
    assert found in (find_fault(folder, promise) or "")


def test_a_best_checkpoint_that_is_gone_is_found(saved: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(saved, folder)
    assert find_fault(folder, Promise((6,), limit=2)) is None
    shutil.rmtree(folder / "checkpoint-2")
    assert "update 2 is the best" in (find_fault(folder, Promise((6,), limit=2)) or "")


def test_a_run_that_ends_otherwise_is_found(nursery: Nursery, tmp_path: Path) -> None:
    undisturbed = run_undisturbed(nursery, tmp_path / "undisturbed", {})
    other = dataclasses.replace(undisturbed, outcome={**undisturbed.outcome, "weights": "others"})
    story = Story(nursery, tmp_path / "story", other)
    assert story.kill_at(Call("fsync", "", 3), first_update=4)
    with pytest.raises(
        AssertionError, match=r"weights is '\w+'; undisturbed 'others'\nkilled before fsync"
    ):
        story.finish()


RENAMED = """\
7 mkdir("/run/.saving-checkpoint-1-a", 0777) = 0
7 openat(AT_FDCWD</>, "/run/.saving-checkpoint-1-a/weights", O_WRONLY|O_CREAT, 0666) = 3
8 write(3</run/.saving-checkpoint-1-a/weights>, "x"..., 9) = 9
{flush_file}
{flush_folder}
7 rename("/run/.saving-checkpoint-1-a", "/run/checkpoint-1") = 0
{flush_parent}
7 unlinkat(4</run/.deleting-checkpoint-0-b>, "weights", 0) = 0
"""
FLUSHES = {
    "flush_file": "8 fsync(3</run/.saving-checkpoint-1-a/weights> <unfinished ...>\n8 <... fsync resumed>)",
    "flush_folder": "7 fsync(3</run/.saving-checkpoint-1-a>) = 0",
    "flush_parent": "7 fsync(3</run>) = 0",
}


@pytest.mark.parametrize("left_out", [None, *FLUSHES])
def test_a_flush_that_is_left_out_is_found(left_out: str | None, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(RENAMED.format(**{**FLUSHES, **({left_out: ""} if left_out else {})}))
    disk = Disk(Path("/run"))
    disk.follow(read_calls(log))
    assert disk.num_published == 1
    assert len(disk.faults) == (0 if left_out is None else 1)

"""Disks that are full, read-only or limited: real ones, which only the processes of a test see."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from small import are_equal

from drivetrain.checkpoint.reading import find_damage

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).parent / "scripts" / "train_on_disk.py"
SUPPORT = Path(__file__).parents[1] / "support"
BEFORE = ["checkpoint-1", "checkpoint-2"]
"""What is on the disk before it fails."""

MOUNTS = {
    "tmpfs": 'mount -t tmpfs -o size=4m,nr_inodes=300 none "$0"',
    "ext4": 'truncate -s 8m "$0.image" && mkfs.ext4 -q -m 0 "$0.image" && mount -o loop "$0.image" "$0"',
}


@dataclass(frozen=True)
class Done:
    """A training that ended."""

    returncode: int
    stdout: str
    stderr: str

    @property
    def failures(self) -> list[list[str]]:
        """For each failed save that training went on after: the folders that were there then."""
        lines = [line.split() for line in self.stdout.splitlines()]
        return [words[1:] for words in lines if words[:1] == ["failed"]]

    @property
    def saved(self) -> list[int]:
        lines = [line.split() for line in self.stdout.splitlines()]
        return [int(words[1]) for words in lines if words[:1] == ["saved"]]


def train(folder: Path, prefix: Sequence[str] = (), **options: Any) -> Done:
    """Train in a process of its own, which ``prefix`` starts in some other way."""
    options.setdefault("arguments", {})
    done = subprocess.run(
        [*prefix, sys.executable, str(SCRIPT), str(folder), json.dumps(options)],
        env={**os.environ, "PYTHONPATH": str(SUPPORT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )
    return Done(done.returncode, done.stdout, done.stderr)


class Disk:
    """A small disk, mounted in a namespace of its own, which goes when the process that holds it does.

    Attributes:
        folder: Where the processes that `enter` starts see it.
        view: Where other processes see it.
    """

    def __init__(self, folder: Path, kind: str) -> None:
        self.folder = folder
        folder.mkdir()
        is_root = os.geteuid() == 0
        options = ["-m"] if is_root else ["-m", "-U", "-r"]
        script = f"{MOUNTS[kind]} && echo mounted && exec cat"
        try:
            self._holder = subprocess.Popen(
                ["unshare", *options, "sh", "-c", script, str(folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        except FileNotFoundError:
            pytest.skip("`unshare` is not installed, so no disk can be mounted")
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != "mounted\n":
            _, errors = self._holder.communicate()
            pytest.skip(f"no {kind} can be mounted here: {errors.strip()}")
        self.view = Path(f"/proc/{self._holder.pid}/root{folder}")
        users = [] if is_root else ["-U", "--preserve-credentials"]
        self._enter = ["nsenter", "-t", str(self._holder.pid), "-m", *users]

    def train(self, prefix: Sequence[str] = (), **options: Any) -> Done:
        """Resume a run on the disk, in the folder ``out``."""
        return train(self.folder / "out", [*self._enter, *prefix], resume=True, **options)

    def run(self, *command: str) -> None:
        subprocess.run([*self._enter, *command], check=True, capture_output=True)

    def fill(self, num_free: int) -> None:
        """Leave this many bytes free, about."""
        with (self.view / "filler").open("wb") as filler:
            while (free := shutil.disk_usage(self.view).free - num_free) > 0:
                filler.write(bytes(min(free, 4096)))
                filler.flush()
                os.fsync(filler.fileno())

    def close(self) -> None:
        self._holder.communicate()


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[..., Disk]]:
    """Mounts a disk with a run's first two checkpoints on it."""
    disks: list[Disk] = []

    def make(before: Path, kind: str = "tmpfs") -> Disk:
        disks.append(Disk(tmp_path / "disk", kind))
        shutil.copytree(before, disks[0].view / "out")
        return disks[0]

    yield make
    for disk in disks:
        disk.close()


@dataclass(frozen=True)
class Run:
    """A run that nothing disturbed: a folder with its first two checkpoints, and its last weights."""

    before: Path
    weights: dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("undisturbed")
    final = folder / "final.pt"
    done = train(folder / "out", final=str(final))
    assert done.returncode == 0, done.stderr
    for step in (3, 4, 5, 6):
        shutil.rmtree(folder / "out" / f"checkpoint-{step}")
    return Run(folder / "out", torch.load(final))


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if "checkpoint" in path.name)


def contents_of(folder: Path) -> dict[str, str]:
    """A sum of each file, by its path."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def assert_untouched(out: Path, undisturbed: Run) -> None:
    """What was there before is there as it was, and nothing else is."""
    assert names_in(out) == BEFORE
    for name in BEFORE:
        assert contents_of(out / name) == contents_of(undisturbed.before / name)
        assert find_damage(out / name) is None


def assert_goes_on(disk: Disk, tmp_path: Path, undisturbed: Run) -> None:
    """Resumed once the disk is as it should be, the run ends with the weights of the undisturbed one."""
    final = tmp_path / "final.pt"
    done = disk.train(final=str(final))
    assert done.returncode == 0, done.stderr
    assert done.saved == [3, 4, 5, 6]
    assert are_equal(torch.load(final), undisturbed.weights)


@pytest.mark.parametrize("is_async", [False, True], ids=["now", "in the background"])
@pytest.mark.parametrize(
    ("policy", "returncode", "num_failed"),
    [("stop_at_second", 1, 1), ("stop", 1, 0), ("continue", 0, 5)],
)
def test_on_a_full_disk_training_stops_or_goes_on_as_it_was_told(
    policy: str,
    returncode: int,
    num_failed: int,
    is_async: bool,
    mount: Callable[..., Disk],
    undisturbed: Run,
    tmp_path: Path,
) -> None:
    disk = mount(undisturbed.before)
    disk.fill(num_free=50_000)
    arguments: dict[str, Any] = {"async_save": is_async}
    if policy != "stop_at_second":  # the default
        arguments["save_on_error"] = policy
    done = disk.train(arguments=arguments)
    assert done.returncode == returncode, done.stderr
    assert done.failures == [BEFORE] * num_failed
    assert done.saved == []
    assert_untouched(disk.view / "out", undisturbed)
    said = re.search(
        r"`output_dir`: checkpoint-3 could not be written to '.*/out': .*No space left on device.*"
        r"It takes about ([\d.]+) kB, and ([\d.]+) kB are free there\. "
        r"The last good checkpoint is .*/out/checkpoint-2\. Make space: save_total_limit=2",
        done.stderr,
    )
    assert said is not None, done.stderr
    assert float(said[1]) > float(said[2]) > 40
    if policy != "continue":
        assert f"Training stops, as `save_on_error`='{policy}' says." in done.stderr.splitlines()[-1]
        assert "CheckpointWriteError" in done.stderr.splitlines()[-1]
    if policy != "stop":
        assert re.search(r"^ERROR .* TRAINING GOES ON WITHOUT IT: ", done.stderr, re.MULTILINE)
    if policy == "stop_at_second":
        assert "if the next save fails, too, it stops" in done.stderr
        (disk.view / "filler").unlink()
        assert_goes_on(disk, tmp_path, undisturbed)


@pytest.mark.parametrize("is_async", [False, True], ids=["now", "in the background"])
def test_training_goes_on_after_one_failure_if_there_is_space_again(
    is_async: bool, mount: Callable[..., Disk], undisturbed: Run, tmp_path: Path
) -> None:
    disk, final = mount(undisturbed.before), tmp_path / "final.pt"
    disk.fill(num_free=50_000)
    filler, everything = str(disk.folder / "filler"), 1 << 30
    done = disk.train(
        arguments={"async_save": is_async}, remove=filler, remove_bytes=everything, final=str(final)
    )
    assert done.returncode == 0, done.stderr
    assert done.failures == [BEFORE]
    assert done.saved == [4, 5, 6]
    for name in (*BEFORE, "checkpoint-4", "checkpoint-5", "checkpoint-6"):
        assert find_damage(disk.view / "out" / name) is None
    assert are_equal(torch.load(final), undisturbed.weights)


@pytest.mark.parametrize("is_async", [False, True], ids=["now", "in the background"])
@pytest.mark.parametrize("kind", MOUNTS)
def test_wherever_in_a_save_the_disk_runs_full_nothing_is_lost_and_nothing_half_is_left(
    kind: str, is_async: bool, mount: Callable[..., Disk], undisturbed: Run
) -> None:
    """A little more space at each failed save, so that the next one gets a little further."""
    disk = mount(undisturbed.before, kind)
    disk.fill(num_free=0)
    done = disk.train(
        arguments={
            "async_save": is_async,
            "save_on_error": "continue",
            "save_total_limit": 1,
            "max_steps": 60,
        },
        remove=str(disk.folder / "filler"),
        remove_bytes=8192,
    )
    assert done.returncode == 0, done.stderr
    assert len(done.failures) >= 12
    assert all(names == BEFORE for names in done.failures)
    assert done.saved == list(range(done.saved[0], 61)), "one that fits is followed by others that do"
    assert names_in(disk.view / "out") == ["checkpoint-60"]
    assert find_damage(disk.view / "out" / "checkpoint-60") is None


@pytest.mark.parametrize("is_async", [False, True], ids=["now", "in the background"])
def test_at_whichever_file_a_limit_on_their_size_is_met_nothing_is_lost_and_nothing_half_is_left(
    is_async: bool, undisturbed: Run, tmp_path: Path
) -> None:
    shutil.copytree(undisturbed.before, tmp_path / "out")
    arguments = {
        "async_save": is_async,
        "save_on_error": "continue",
        "save_total_limit": 1,
        "max_steps": 60,
    }
    done = train(tmp_path / "out", resume=True, arguments=arguments, limit=0)
    assert done.returncode == 0, done.stderr
    assert len(done.failures) >= 12
    assert all(names == BEFORE for names in done.failures)
    assert done.saved == list(range(done.saved[0], 61))
    assert names_in(tmp_path / "out") == ["checkpoint-60"]
    assert find_damage(tmp_path / "out" / "checkpoint-60") is None
    assert "checkpoint-3 could not be written to" in done.stderr
    assert "File too large" in done.stderr
    assert "A limit on the size of files forbids it (`ulimit -f`): raise it." in done.stderr


@pytest.mark.parametrize("is_async", [False, True], ids=["now", "in the background"])
def test_a_disk_that_is_read_only_is_said_and_training_stops_at_the_second_failure(
    is_async: bool, mount: Callable[..., Disk], undisturbed: Run, tmp_path: Path
) -> None:
    disk = mount(undisturbed.before)
    disk.run("mount", "-o", "remount,bind,ro", str(disk.folder))
    done = disk.train(arguments={"async_save": is_async})
    assert done.returncode == 1, done.stderr
    assert done.failures == [BEFORE]
    assert_untouched(disk.view / "out", undisturbed)
    last = done.stderr.splitlines()[-1]
    assert "checkpoint-4 could not be written to" in last
    assert "Read-only file system" in last
    assert "Let this user write there (chmod, or a mount that is not read-only)." in last
    disk.run("mount", "-o", "remount,bind,rw", str(disk.folder))
    assert_goes_on(disk, tmp_path, undisturbed)


def test_a_folder_that_may_not_be_written_to_is_said(undisturbed: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(undisturbed.before, out)
    prefix: list[str] = []
    if os.geteuid() == 0:  # whom permissions do not hinder, unless that is taken from it
        if shutil.which("setpriv") is None:
            pytest.skip("root, and `setpriv` is not installed: permissions hinder nobody here")
        prefix = ["setpriv", "--bounding-set=-dac_override", "--inh-caps=-dac_override"]
    out.chmod(0o555)
    try:
        done = train(out, prefix, resume=True, arguments={"save_on_error": "stop"})
    finally:
        out.chmod(0o755)
    assert done.returncode == 1, done.stderr
    assert_untouched(out, undisturbed)
    last = done.stderr.splitlines()[-1]
    assert "checkpoint-3 could not be written to" in last
    assert "Permission denied" in last
    assert "Let this user write there (chmod, or a mount that is not read-only)." in last


def test_a_disk_that_can_take_no_more_files_is_said(
    mount: Callable[..., Disk], undisturbed: Run
) -> None:
    disk = mount(undisturbed.before)
    fillers = disk.view / "fillers"
    fillers.mkdir()
    num_free = os.statvfs(disk.view).f_ffree
    for index in range(num_free - 3):  # a folder and two files
        (fillers / str(index)).touch()
    done = disk.train(arguments={"save_on_error": "stop"})
    assert done.returncode == 1, done.stderr
    assert_untouched(disk.view / "out", undisturbed)
    assert "checkpoint-3 could not be written to" in done.stderr.splitlines()[-1]
    assert "No space left on device" in done.stderr.splitlines()[-1]

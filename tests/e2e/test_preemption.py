"""A run that gets a signal saves, leaves with exit code 75, and when resumed ends as if nothing had been."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from interrupted import history_of, prepare
from scripts import ACCELERATE
from small import are_equal, weights_of

from drivetrain.checkpoint.layout import list_checkpoints, step_of
from drivetrain.checkpoint.reading import find_damage
from drivetrain.loop.interruption import PREEMPTED_EXIT_CODE

SUPPORT = Path(__file__).parents[1] / "support"
BY_STEPS = {"eval_strategy": "steps", "eval_steps": 4}
WORKERS = {"dataloader_num_workers": 2}

Start = Callable[..., "Run"]
Train = Callable[..., tuple[Any, Any]]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name != "posix", reason="signals of other processes are those of POSIX"),
]


class Run:
    """A training in a process of its own, which waits at a place.

    Args:
        folder: Its output folder.
        event: Where it waits.
        step: The number of updates that are done then.
        launcher: What stands between Python and the script.
        settings: Arguments.
    """

    def __init__(
        self,
        folder: Path,
        event: str,
        step: int,
        launcher: Sequence[str] = (),
        **settings: Any,
    ) -> None:
        given = json.dumps({"folder": str(folder), "event": event, "step": step, **settings})
        script = str(SUPPORT / "interrupted.py")
        self.process = subprocess.Popen(
            [sys.executable, *launcher, script, given],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(SUPPORT), "OMP_NUM_THREADS": "1"},
            start_new_session=True,
        )

    def wait_for(self, word: str) -> list[int]:
        """Wait until the process says a word; return the numbers that it says with it."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.split()[:1] == [word]:
                return [int(number) for number in line.split()[1:] if number.isdigit()]
        raise AssertionError(
            f"it never said {word!r}: {self.process.stderr and self.process.stderr.read()}"
        )

    def wait_for_message(self, text: str) -> None:
        """Wait until there is a text on its standard error output."""
        assert self.process.stderr is not None
        assert any(text in line for line in self.process.stderr)

    def send(self, *signals: signal.Signals, to_group: bool = False) -> None:
        """Send signals."""
        for number in signals:
            (os.killpg if to_group else os.kill)(self.process.pid, number)

    def finish(self) -> tuple[int, str]:
        """Let it go on to its end; return its exit code and what it wrote to its standard error output."""
        _, errors = self.process.communicate("\n\n", timeout=120)
        return self.process.returncode, errors

    def close(self) -> None:
        """End what is left of it."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        with self.process:
            pass


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a `Run` in the test's folder; none outlives the test."""
    runs: list[Run] = []

    def start_run(event: str, step: int, launcher: Sequence[str] = (), **settings: Any) -> Run:
        runs.append(Run(tmp_path, event, step, launcher, **settings))
        return runs[-1]

    yield start_run
    for run in runs:
        run.close()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Train:
    """Weights and log of a run with these arguments that got no signal; each is trained once."""
    known: dict[str, tuple[Any, Any]] = {}

    def train(**settings: Any) -> tuple[Any, Any]:
        key = json.dumps(settings, sort_keys=True)
        if key not in known:
            trainer = prepare(tmp_path_factory.mktemp("undisturbed"), **settings)
            trainer.train()
            known[key] = weights_of(trainer), history_of(trainer)
        return known[key]

    return train


def saved_in(folder: Path) -> list[int | None]:
    """The updates that have a checkpoint, all of them whole."""
    checkpoints = list_checkpoints(folder)
    assert [find_damage(checkpoint) for checkpoint in checkpoints] == [None] * len(checkpoints)
    return [step_of(checkpoint) for checkpoint in checkpoints]


def assert_goes_on(folder: Path, undisturbed: Train, **settings: Any) -> None:
    """Resume, and compare the end with that of an undisturbed run."""
    trainer = prepare(folder, **settings)
    trainer.train(resume_from_checkpoint=bool(list_checkpoints(folder)))
    weights, history = undisturbed(**settings)
    assert history_of(trainer) == history
    assert are_equal(weights_of(trainer), weights)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1], ids=lambda number: number.name)
def test_the_update_is_finished_and_saved(
    tmp_path: Path, start: Start, undisturbed: Train, number: Any
) -> None:
    run = start("on_substep_end", 3)
    run.wait_for("here")
    run.send(number)
    code, errors = run.finish()
    assert code == PREEMPTED_EXIT_CODE == 75, errors
    assert f"{number.name}: finishing the update, saving a checkpoint, then leaving." in errors
    assert f"{number.name}: leaving after update 4 of 12, with exit code 75." in errors
    assert f"The checkpoint is {tmp_path / 'checkpoint-4'}." in errors
    assert "trainer.train(resume_from_checkpoint=True)" in errors
    assert "Traceback" not in errors
    assert saved_in(tmp_path) == [4]
    assert_goes_on(tmp_path, undisturbed)


def test_an_evaluation_is_broken_off(tmp_path: Path, start: Start, undisturbed: Train) -> None:
    run = start("on_prediction_step", 4, **BY_STEPS)
    run.wait_for("here")
    run.send(signal.SIGTERM)
    code, errors = run.finish()
    assert code == 75, errors
    assert saved_in(tmp_path) == [4]
    assert_goes_on(tmp_path, undisturbed, **BY_STEPS)


@pytest.mark.parametrize("is_async", [False, True], ids=["at once", "by a thread"])
def test_a_save_that_is_under_way_is_the_one_that_the_run_leaves_with(
    tmp_path: Path, start: Start, undisturbed: Train, is_async: bool
) -> None:
    settings = {"save_strategy": "steps", "save_steps": 5, "async_save": is_async}
    run = start("save_model", 5, **settings)
    run.wait_for("here")
    run.send(signal.SIGTERM)
    code, errors = run.finish()
    assert code == 75, errors
    assert saved_in(tmp_path) == [5]
    assert_goes_on(tmp_path, undisturbed, **settings)


@pytest.mark.parametrize("persists", [False, True], ids=["new each epoch", "persistent"])
def test_loading_processes_do_not_hear_a_signal_to_the_group_and_end_with_the_run(
    tmp_path: Path, start: Start, undisturbed: Train, persists: bool
) -> None:
    settings = {**WORKERS, **BY_STEPS, "dataloader_persistent_workers": persists}
    run = start("on_substep_end", 3, **settings)
    workers = run.wait_for("here")
    assert len(workers) == 2
    run.send(signal.SIGUSR1, to_group=True)
    for worker in workers:
        os.kill(worker, signal.SIGUSR1)  # as from a scheduler that signals each process
    code, errors = run.finish()
    assert code == 75, errors
    assert not any(is_alive(worker) for worker in workers)
    assert_goes_on(tmp_path, undisturbed, **settings)


def is_alive(process: int) -> bool:
    """Whether there is a process of that number."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_second_signal_ends_the_process_at_once(tmp_path: Path, start: Start) -> None:
    run = start("on_substep_end", 3)
    run.wait_for("here")
    run.send(signal.SIGUSR1)
    run.wait_for_message("SIGUSR1: finishing the update")
    run.send(signal.SIGTERM)
    assert run.process.wait(timeout=60) == -signal.SIGTERM
    assert saved_in(tmp_path) == []


def test_a_signal_after_training_ends_the_process_as_usual(tmp_path: Path, start: Start) -> None:
    run = start("none", 0)
    run.wait_for("trained")
    run.send(signal.SIGTERM)
    assert run.process.wait(timeout=60) == -signal.SIGTERM


def test_none_leaves_the_process_to_end_at_once(tmp_path: Path, start: Start) -> None:
    run = start("on_substep_end", 3, preemption_signals="none")
    run.wait_for("here")
    run.send(signal.SIGTERM)
    assert run.process.wait(timeout=60) == -signal.SIGTERM
    assert saved_in(tmp_path) == []


def test_processes_of_torchrun_leave_together_when_it_is_ended(tmp_path: Path, start: Start) -> None:
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    settings = {
        "strategy": "interrupted.Launched",
        "dataloader_num_workers": 1,
        "num_train_epochs": 9999,
    }
    run = start("none", 0, launcher=launcher, **settings)
    run.wait_for("{'loss':")
    run.send(signal.SIGTERM)  # which it passes on to the group of each process
    _, errors = run.finish()
    left = re.findall(r"SIGTERM: leaving after update (\d+) of \d+, with exit code 75\.", errors)
    assert len(left) == 2, errors
    assert saved_in(tmp_path) == [int(left[0])] == [int(left[1])]


def test_a_process_of_accelerate_launch_leaves(tmp_path: Path, start: Start, undisturbed: Train) -> None:
    run = start("on_substep_end", 3, launcher=ACCELERATE)
    (process,) = run.wait_for("process")
    run.wait_for("here")
    os.kill(process, signal.SIGTERM)
    _, errors = run.finish()
    assert "SIGTERM: leaving after update 4 of 12, with exit code 75." in errors
    assert saved_in(tmp_path) == [4]
    assert_goes_on(tmp_path, undisturbed)

"""What arguments say of this process: who logs, who saves, who goes first."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from honesty.processes import SECOND_MACHINE, SECOND_OF_MACHINE

from drivetrain import ParallelMode, TrainingArguments


def make(**arguments: Any) -> TrainingArguments:
    return TrainingArguments("out", **{"use_cpu": True, "report_to": "none", **arguments})


@pytest.mark.parametrize(
    ("arguments", "logs", "saves"),
    [
        ({}, True, True),
        ({"strategy": SECOND_MACHINE}, True, False),
        ({"strategy": SECOND_MACHINE, "log_on_each_node": False}, False, False),
        ({"strategy": SECOND_MACHINE, "save_on_each_node": True}, True, True),
        ({"strategy": SECOND_OF_MACHINE}, False, False),
        ({"strategy": SECOND_OF_MACHINE, "save_on_each_node": True}, False, False),
    ],
)
def test_one_process_of_a_machine_or_of_all_logs_and_saves(
    arguments: dict[str, Any], logs: bool, saves: bool
) -> None:
    args = make(**arguments)
    assert (args.should_log, args.should_save) == (logs, saves)


@pytest.mark.parametrize(
    ("arguments", "level"),
    [
        ({}, logging.WARNING),
        ({"log_level": "detail"}, logging.DEBUG),
        ({"log_level": "info", "log_level_replica": "error"}, logging.INFO),
        ({"strategy": SECOND_OF_MACHINE, "log_level": "info"}, logging.WARNING),
        ({"strategy": SECOND_OF_MACHINE, "log_level_replica": "passive"}, logging.WARNING),
        ({"strategy": SECOND_OF_MACHINE, "log_level_replica": "error"}, logging.ERROR),
    ],
)
def test_the_level_is_that_of_the_process(arguments: dict[str, Any], level: int) -> None:
    assert make(**arguments).get_process_log_level() == level


def test_passive_is_the_level_that_was_set_where_logs_are_written() -> None:
    logging.getLogger("drivetrain").setLevel(logging.ERROR)
    assert make().get_process_log_level() == logging.ERROR


def test_the_process_among_the_others() -> None:
    args = make(strategy=SECOND_OF_MACHINE)
    assert (args.world_size, args.process_index, args.local_process_index) == (4, 1, 1)
    assert args.parallel_mode is ParallelMode.DISTRIBUTED
    assert make().parallel_mode is ParallelMode.NOT_PARALLEL
    assert (args.n_gpu, str(args.device)) == (0, "cpu")


def test_a_process_that_is_alone_waits_for_nobody() -> None:
    args, done = make(), []
    with args.main_process_first(desc="the only one"):
        done.append(1)
    with pytest.raises(RuntimeError, match="in the work"), args.main_process_first(local=False):
        raise RuntimeError("in the work")
    assert done == [1]


SCRIPT = """
import json, os, time
from pathlib import Path

import torch
import torch.distributed

from drivetrain import TrainingArguments
from drivetrain.plugin import StrategyPlugin


class Gloo(StrategyPlugin):
    def __init__(self, args, options=None):
        super().__init__(args, options)
        self._rank = int(os.environ["RANK"])
        store = "file://" + os.path.abspath("store")
        torch.distributed.init_process_group("gloo", init_method=store, rank=self._rank, world_size=2)

    device = torch.device("cpu")
    world_size = 2

    @property
    def rank(self):
        return self._rank

    @property
    def local_rank(self):
        return int(os.environ["LOCAL_RANK"])

    def wait(self):
        torch.distributed.barrier()


def work(local):
    made = Path(f"made-{local}")
    with args.main_process_first(local=local, desc="making a file"):
        was_there = made.exists()
        if not was_there:
            time.sleep(0.5)
            made.touch()
    return was_there


args = TrainingArguments("out", report_to="none", strategy="two_processes.Gloo")
told = {
    "was there": {"machine": work(True), "all": work(False)},
    "logs": args.should_log,
    "saves": args.should_save,
    "level": args.get_process_log_level(),
}
Path("told-" + os.environ["RANK"]).write_text(json.dumps(told))
torch.distributed.destroy_process_group()
"""


def told_by_two_processes(folder: Path, local_ranks: tuple[int, int]) -> list[dict[str, Any]]:
    """What two processes say, which talk to each other."""
    (folder / "two_processes.py").write_text(SCRIPT, encoding="utf-8")
    environment = {**os.environ, "WORLD_SIZE": "2", "PYTHONPATH": str(folder)}
    command = [sys.executable, "-c", "import two_processes"]
    processes = [
        subprocess.Popen(
            command,
            cwd=folder,
            env={**environment, "RANK": str(rank), "LOCAL_RANK": str(local_rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank, local_rank in enumerate(local_ranks)
    ]
    for process in processes:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
    return [json.loads((folder / f"told-{rank}").read_text()) for rank in (0, 1)]


@pytest.mark.slow
def test_the_first_process_goes_first_and_the_other_finds_its_work_done(tmp_path: Path) -> None:
    first, second = told_by_two_processes(tmp_path, local_ranks=(0, 1))
    assert first["was there"] == {"machine": False, "all": False}
    assert second["was there"] == {"machine": True, "all": True}
    assert (first["logs"], first["saves"]) == (True, True)
    assert (second["logs"], second["saves"]) == (False, False)
    assert (first["level"], second["level"]) == (logging.WARNING, logging.WARNING)


@pytest.mark.slow
def test_of_two_machines_the_first_process_of_each_logs_and_the_first_of_all_can_go_first(
    tmp_path: Path,
) -> None:
    first, second = told_by_two_processes(tmp_path, local_ranks=(0, 0))
    assert (first["was there"]["all"], second["was there"]["all"]) == (False, True)
    assert (first["logs"], first["saves"]) == (True, True)
    assert (second["logs"], second["saves"]) == (True, False)

"""A training process killed with SIGKILL, again and again, ends with the weights of one that was not."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from small import are_equal

from drivetrain.checkpoint.layout import list_checkpoints, step_of
from drivetrain.checkpoint.reading import find_damage

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).parent / "scripts" / "train_and_save.py"
SUPPORT = Path(__file__).parents[1] / "support"


def start(folder: Path, delay: float) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(SUPPORT)}
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), str(folder), str(delay)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def finish(process: subprocess.Popen[str]) -> None:
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors


def test_a_killed_run_resumes_from_a_whole_checkpoint_and_ends_with_the_same_weights(
    tmp_path: Path,
) -> None:
    undisturbed = start(tmp_path / "undisturbed", delay=0)
    finish(undisturbed)
    disturbed, seed = tmp_path / "disturbed", random.Random(0)
    for _ in range(5):
        process = start(disturbed, delay=0.005)
        assert process.stdout is not None
        told = 0
        for line in process.stdout:
            if line.startswith("saved"):
                told = int(line.split()[1])
                break
        time.sleep(seed.uniform(0, 0.1))
        process.send_signal(signal.SIGKILL)
        rest, _ = process.communicate()
        assert process.returncode == -signal.SIGKILL, "it ended before it was killed"
        told = max(
            [told, *(int(line.split()[1]) for line in rest.splitlines() if line.startswith("saved"))]
        )
        whole = [step_of(path) for path in list_checkpoints(disturbed) if find_damage(path) is None]
        assert len(whole) == len(list_checkpoints(disturbed)), "a checkpoint is not whole"
        assert max(step or 0 for step in whole) >= told, "a save that was told of is not there"
    finish(start(disturbed, delay=0))
    first, second = (torch.load(folder / "final.pt") for folder in (tmp_path / "undisturbed", disturbed))
    assert are_equal(first, second)

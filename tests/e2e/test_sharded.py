"""Models whose parameters lie on several processes: saved and resumed by real processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from small import are_equal, make_net, make_trainer, weights_of

from drivetrain.checkpoint.layout import list_checkpoints
from drivetrain.checkpoint.reading import find_damage

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).parent / "scripts" / "train_sharded.py"
SUPPORT = Path(__file__).parents[1] / "support"


def run(folder: Path, how: str, checkpoint: str = "", processes: int = 2) -> None:
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        f"--nproc-per-node={processes}",
    ]
    finished = subprocess.run(
        [*command, str(SCRIPT), str(folder), how, checkpoint],
        env={**os.environ, "PYTHONPATH": str(SUPPORT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert finished.returncode == 0, finished.stderr[-4000:]


@pytest.mark.parametrize("how", ["now", "async", "schedule-free"])
def test_a_sharded_run_resumes_exactly_on_as_many_processes_and_on_others(
    how: str, tmp_path: Path
) -> None:
    run(tmp_path, how)
    checkpoints = list_checkpoints(tmp_path)
    assert [path.name for path in checkpoints] == ["checkpoint-8", "checkpoint-10", "checkpoint-12"]
    for checkpoint in checkpoints:
        assert find_damage(checkpoint) is None
        files = json.loads((checkpoint / "manifest.json").read_text())["files"]
        assert {"distributed/.metadata", "distributed/__0_0.distcp", "distributed/__1_0.distcp"} <= set(
            files
        )
        assert {"rng_state_0.pth", "rng_state_1.pth"} <= set(files)
    whole = torch.load(tmp_path / "final-whole.pt")
    run(tmp_path, how, str(tmp_path / "checkpoint-8"))
    assert are_equal(torch.load(tmp_path / "final-checkpoint-8.pt"), whole)
    if how != "now":
        return
    run(tmp_path, how, str(tmp_path / "checkpoint-10"), processes=3)
    resumed = torch.load(tmp_path / "final-checkpoint-10.pt")
    assert all(torch.allclose(resumed[name], whole[name], atol=1e-5) for name in whole)
    alone = make_trainer(model=make_net(seed=9, dropout=0.0), output_dir=tmp_path, num_train_epochs=2)
    with pytest.warns(UserWarning, match="load in a single process"):
        alone.train(resume_from_checkpoint=str(tmp_path / "checkpoint-8"))
    weights = weights_of(alone)
    assert all(torch.allclose(weights[name], whole[name], atol=1e-5) for name in whole)

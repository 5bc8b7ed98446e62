"""The page about checkpoints runs from top to bottom, and names every file that there is."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from drivetrain import PREEMPTED_EXIT_CODE
from drivetrain.checkpoint import layout

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "checkpoints.md").read_text(encoding="utf-8")


def test_the_snippets_run_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    space: dict[str, object] = {"__name__": "page"}
    for snippet in re.findall(r"^```python\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL):
        exec(compile(snippet, "checkpoints.md", "exec"), space)
    assert "Resuming from out/checkpoint-15. Passed over: checkpoint-16" in caplog.text


def test_every_file_of_a_checkpoint_is_on_the_page() -> None:
    names = [
        layout.MODEL,
        layout.OPTIMIZER,
        layout.SCHEDULER,
        layout.SCALER,
        layout.RANDOM_STATE,
        layout.STATE,
        layout.PROGRESS,
        layout.position_name(0, 1),
        layout.GRADIENTS,
        layout.TRAINING_WEIGHTS,
        f"{layout.SHARDS}/",
        layout.ARGUMENTS,
        layout.MANIFEST,
    ]
    assert [name for name in names if f"`{name}`" not in PAGE] == []


SRUN = """#!/bin/sh
echo run >> runs
[ $(wc -l < runs) -gt 2 ] && exit 0
exit 75
"""
SCONTROL = """#!/bin/sh
echo "$@" >> asked
"""


@pytest.fixture
def cluster(tmp_path: Path) -> dict[str, str]:
    """A folder with an `srun` that is preempted twice, and a `scontrol` that notes what is asked of it."""
    for name, script in (("srun", SRUN), ("scontrol", SCONTROL)):
        (tmp_path / name).write_text(script)
        (tmp_path / name).chmod(0o755)
    return {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_JOB_ID": "17"}


def test_the_batch_script_puts_a_preempted_job_back_and_no_other(
    tmp_path: Path, cluster: dict[str, str]
) -> None:
    batch, _ = re.findall(r"^```bash\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
    codes = [
        subprocess.run(["bash", "-c", batch], cwd=tmp_path, env=cluster, check=False).returncode
        for _ in range(3)
    ]
    assert codes == [75, 75, 0]
    assert (tmp_path / "asked").read_text().splitlines() == ["requeue 17", "requeue 17"]


def test_the_loop_starts_a_preempted_run_again_until_it_is_done(
    tmp_path: Path, cluster: dict[str, str]
) -> None:
    _, loop = re.findall(r"^```bash\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
    done = subprocess.run(["bash", "-c", loop], cwd=tmp_path, env=cluster, check=False, timeout=30)
    assert done.returncode == 0
    assert len((tmp_path / "runs").read_text().splitlines()) == 3


def test_the_job_of_kubernetes_goes_on_at_the_exit_code_of_a_preempted_run() -> None:
    yaml = pytest.importorskip("yaml")
    (text,) = re.findall(r"^```yaml\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
    job = yaml.safe_load(text)["spec"]
    (rule,) = job["podFailurePolicy"]["rules"]
    assert (rule["action"], rule["onExitCodes"]["values"]) == ("Ignore", [PREEMPTED_EXIT_CODE])
    assert job["template"]["spec"]["restartPolicy"] == "Never"  # which a failure policy asks for

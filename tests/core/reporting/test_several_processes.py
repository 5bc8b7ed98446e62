"""Of several processes only the one that should report does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

SUPPORT = Path(__file__).parents[2] / "support"

SCRIPT = """
import json, os, threading
from pathlib import Path

import torch
from fragile import make_fragile
from small import make_trainer

from drivetrain import register

rank, world_size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
store = "file://" + os.path.abspath("store")
torch.distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=world_size)
queued = make_fragile(takes_checkpoints=True, takes_model=True)
immediate = make_fragile(is_immediate=True)
register("reporter", "queued", queued)
register("reporter", "immediate", immediate)
trainer = make_trainer(
    report_to=["queued", "immediate", "jsonl"], strategy="interrupted.Launched", output_dir="out",
    save_strategy="steps", save_steps=2, max_steps=3, reporter_timeout=60,
)
trainer.train()
trainer.report({"text": "after"})
trainer.evaluate()
threads = [t.name for t in threading.enumerate() if t.name.startswith("reporter ")]
for callback in trainer.callback_handler.callbacks:
    if hasattr(callback, "reporter"):
        callback.close("finished")
told = {"queued": queued.calls, "immediate": immediate.calls, "threads": threads}
Path(f"told-{rank}").write_text(json.dumps(told))
torch.distributed.destroy_process_group()
"""


def told_to_two_processes(folder: Path) -> list[dict[str, Any]]:
    """What the reporters of each process were told, and with the first what is in the folder at the end."""
    (folder / "script.py").write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": str(SUPPORT), "WORLD_SIZE": "2"}
    processes = [
        subprocess.Popen(
            [sys.executable, "script.py"],
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={**environment, "RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in (0, 1)
    ]
    try:
        errors = [process.communicate(timeout=300)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], errors
    found = [json.loads((folder / f"told-{rank}").read_text()) for rank in (0, 1)]
    found[0]["lines"] = [
        json.loads(line)
        for file in (folder / "out").rglob("*.jsonl")
        for line in file.read_text().splitlines()
    ]
    found[0]["files"] = sorted(path.name for path in (folder / "out").iterdir())
    return found


def test_the_first_process_reports_everything_once_and_the_second_nothing(tmp_path: Path) -> None:
    told = told_to_two_processes(tmp_path)
    logs = [["log", step] for step in (1, 2, 3, 3)]
    after = [["open", 3], ["log", 3], ["log", 3], ["close", "finished"]]
    assert told[0]["immediate"] == [["open", 0], *logs, ["close", "finished"], *after]
    artefacts = [["log_checkpoint", 2], ["log_checkpoint", 3], ["log_model", "model"]]
    assert [call for call in told[0]["queued"] if call not in artefacts] == told[0]["immediate"]
    assert [call for call in told[0]["queued"] if call in artefacts] == artefacts
    assert "checkpoint-2" in told[0]["files"]
    assert ".reporting" not in told[0]["files"]
    losses = [line for line in told[0]["lines"] if "train/loss" in line]
    assert [line["step"] for line in losses] == [1, 2, 3]
    assert told[1] == {"queued": [], "immediate": [], "threads": []}

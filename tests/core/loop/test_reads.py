"""Between two logs nothing is read from the device, whatever training does."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from projects import REPOSITORY

pytestmark = pytest.mark.slow  # a process each

BENCHMARKS = REPOSITORY / "benchmarks"

READS = """
import json, sys
import torch
from reads_device import NAME, install
device = install()
tensor = torch.arange(3.0).to(NAME)
before = len(device.reads)
reads = {
    "item": lambda: tensor.sum().item(), "tolist": tensor.tolist, "cpu": tensor.cpu,
    "to": lambda: tensor.to("cpu"), "bool": lambda: bool(tensor.isnan().any()),
    "float": lambda: float(tensor[0]), "print": lambda: str(tensor),
    "copy": lambda: torch.empty(3).copy_(tensor), "equal": lambda: torch.equal(tensor, tensor),
    "nonzero": tensor.nonzero, "compare": lambda: 1 if tensor[0] > 0 else 2,
}
found = {}
for name, read in reads.items():
    before = len(device.reads)
    read()
    found[name] = len(device.reads) - before
before = len(device.reads)
tensor.add_(1).mul(2).softmax(0).detach().clone().to(torch.bfloat16).view(3, 1).to(NAME)
found["none"] = len(device.reads) - before
print(json.dumps(found))
"""


def run(*command: str) -> Any:
    """What a process prints that gets a device for itself, which could not be taken back."""
    done = subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, cwd=BENCHMARKS, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_the_device_sees_every_read_and_nothing_else() -> None:
    found = run("-c", f"import sys; sys.path.insert(0, '.')\n{READS}")
    assert found.pop("none") == 0
    assert len(found) == 11
    assert min(found.values()) >= 1


def test_nothing_is_read_between_two_logs() -> None:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        from reads_subjects import SCENARIOS
    finally:
        sys.path.remove(str(BENCHMARKS))
    found = run("reads_subjects.py", "drivetrain", *SCENARIOS)
    assert set(found) == set(SCENARIOS)
    assert len(found) >= 13
    for scenario, reads in found.items():
        assert reads["between"] == 0, (scenario, reads["where"])
        assert 2 <= reads["in all"] <= 6, (scenario, reads)  # the logs themselves: it is not blind
        assert len(reads["losses"]) == 2
        assert reads["losses"][1] < reads["losses"][0] < 3.7  # it trains


def test_the_published_trainer_that_asks_each_loss_whether_it_is_finite_is_seen_to_read() -> None:
    pytest.importorskip("transformers")
    reads = run("reads_subjects.py", "transformers")["plain"]
    assert reads["between"] >= reads["updates"]
    ours = run("reads_subjects.py", "drivetrain")["plain"]
    assert ours["losses"] == pytest.approx(reads["losses"], abs=1e-6)

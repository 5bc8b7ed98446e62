"""What is said of the distribution as a whole: a quiet import, and a README that tells the truth."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

pytestmark = pytest.mark.slow

README = Path(__file__).resolve().parents[3] / "plugins" / "bitsandbytes" / "README.md"


def test_parts_are_found_without_the_library_which_is_imported_in_silence() -> None:
    code = """
import logging, sys, torch
logging.basicConfig()
from drivetrain_bitsandbytes import adamw, ademamix, lion, rmsprop
assert "bitsandbytes" not in sys.modules
from drivetrain_bitsandbytes import state
assert "bitsandbytes" in sys.modules
"""
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", code], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_snippet_of_the_readme_runs() -> None:
    (snippet,) = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    done = subprocess.run([sys.executable, "-c", snippet], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("names", "shown", "percent"),
    re.findall(r"^\| (`.*) \| ([\d.]+) \| (\d+) % \|$", README.read_text(), re.MULTILINE),
)
def test_the_memory_of_the_readme_is_what_is_allocated(
    names: str, shown: str, percent: str, make_optimizer: Any
) -> None:
    for optim in re.findall(r"`(\w+)`", names):
        layer = nn.Linear(1024, 1024, bias=False)
        optimizer = make_optimizer(layer, optim=optim)
        layer.weight.grad = torch.ones_like(layer.weight)
        optimizer.step()
        tensors = [v for v in optimizer.state[layer.weight].values() if isinstance(v, torch.Tensor)]
        size = sum(tensor.nbytes for tensor in tensors if tensor.numel() > 1)
        assert size / layer.weight.numel() == pytest.approx(float(shown), rel=0.01), optim
    assert round(float(shown) / 8 * 100) == int(percent)

"""`adamw_torch_xla` and `adamw_torch_npu_fused`: what they say here, and a run where there is a device."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from drivetrain import ArgumentsError, TrainingArguments
from drivetrain.testing import OptimizerSuite

pytestmark = pytest.mark.slow

LIBRARIES = {"adamw_torch_xla": "torch_xla", "adamw_torch_npu_fused": "torch_npu"}


class TestXLA(OptimizerSuite):
    name = "adamw_torch_xla"
    refused_options = {"betas": (2.0, 0.9), "eps": -1.0}


class TestNPUFused(OptimizerSuite):
    name = "adamw_torch_npu_fused"
    refused_options = {"betas": (2.0, 0.9), "eps": -1.0}


def refusal_of(**values: Any) -> str:
    with pytest.raises(ArgumentsError) as caught:
        TrainingArguments("out", use_cpu=True, report_to="none", **values)
    return str(caught.value)


@pytest.mark.parametrize(("name", "library"), LIBRARIES.items())
def test_a_missing_library_is_named_with_its_hardware_and_what_to_type(name, library) -> None:
    if find_spec(library) is not None:
        pytest.skip(f"{library} is installed")
    said = refusal_of(optim=name)
    hardware = {"torch_xla": "TPUs and other XLA devices", "torch_npu": "Ascend NPUs"}[library]
    assert said == (
        f"`optim`: {name!r} is the AdamW of {library} for {hardware}, and {library} is not installed. "
        "Type optim='adamw_torch', which runs on every device, or run it on one of those, with: "
        f"pip install {library}."
    )


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("raise ImportError('libhccl.so: cannot open shared object file')", "libhccl.so: cannot open"),
        ("import a_driver_of_it", "No module named 'a_driver_of_it'"),
    ],
)
def test_a_library_that_cannot_be_imported_is_told_why(
    tmp_path: Path, content: str, reason: str
) -> None:
    """As torch_npu is on a machine without Ascend's own software; here a package that stands in for it."""
    (tmp_path / "torch_npu").mkdir()
    (tmp_path / "torch_npu" / "__init__.py").write_text(content)
    code = (
        "from drivetrain import TrainingArguments\n"
        "try: TrainingArguments('out', optim='adamw_torch_npu_fused', use_cpu=True, report_to='none')\n"
        "except ValueError as error: print(error)"
    )
    said = run(code, tmp_path)
    assert f"and the installed torch_npu cannot be imported: {reason}" in said
    assert "Type optim='adamw_torch'" in said


def test_what_the_library_is_called_with(tmp_path: Path) -> None:
    """By packages that stand in for torch_xla and a strategy that puts a run on its device."""
    package = tmp_path / "torch_xla" / "amp"
    package.mkdir(parents=True)
    (tmp_path / "torch_xla" / "__init__.py").touch()
    (package / "__init__.py").touch()
    (package / "syncfree.py").write_text("from torch.optim import AdamW")
    (tmp_path / "tpu.py").write_text(STRATEGY)
    code = (
        "from drivetrain import TrainingArguments\n"
        "from drivetrain.parts import load_optimizer\n"
        "args = TrainingArguments('out', optim='adamw_torch_xla', strategy='tpu.Strategy', adam_beta2=0.9,\n"
        "                         optim_args='eps=1e-6', learning_rate=0.25, report_to='none')\n"
        "cls, keywords = load_optimizer(args).build()\n"
        "print(cls.__name__, sorted(keywords.items()))"
    )
    assert run(code, tmp_path) == "AdamW [('betas', (0.9, 0.9)), ('eps', 1e-06), ('lr', 0.25)]\n"


STRATEGY = """
import torch
from drivetrain.plugin import StrategyPlugin

class Strategy(StrategyPlugin):
    device = torch.device("xla")
"""


@pytest.mark.skipif(find_spec("torch_xla") is None, reason="torch_xla is not installed")
def test_a_run_on_an_xla_device_learns_as_one_of_adamw_torch_does(tmp_path: Path) -> None:
    (tmp_path / "tpu.py").write_text(STRATEGY)
    code = """
import os
os.environ.setdefault("PJRT_DEVICE", "CPU")
import torch, torch_xla
from torch import nn
from drivetrain import Trainer, TrainingArguments

class Regression(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 1)

    def forward(self, x, labels):
        return {"loss": (self.linear(x).squeeze(-1) - labels).pow(2).mean()}

generator = torch.Generator().manual_seed(0)
data = [{"x": x, "labels": x.sum()} for x in torch.randn(64, 4, generator=generator)]

def train(**given):
    torch.manual_seed(0)
    args = TrainingArguments("out", max_steps=8, learning_rate=0.05, weight_decay=0.1, report_to="none",
                             save_strategy="no", disable_tqdm=True, **given)
    trainer = Trainer(Regression(), args, train_dataset=data)
    trainer.train()
    return trainer.model.linear.weight.detach().cpu()

ours = train(optim="drivetrain_torch.other_devices.XLAAdamW", strategy="tpu.Strategy")
theirs = train(optim="adamw_torch", use_cpu=True)
torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
print("close")
"""
    assert run(code, tmp_path).endswith("close\n")


def run(code: str, folder: Path) -> str:
    """What code prints in a process of its own, which can import what is in the folder."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        cwd=folder,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout

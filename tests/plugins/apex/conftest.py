"""A package that stands in for NVIDIA Apex, and processes of their own that can import it.

It has Apex's names and does in plain torch, on any device, what Apex's documentation says of them.
That it is called with the right things at the right time is all that it can show.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[[str], str]

OPTIMIZERS = """
import torch

class FusedAdam(torch.optim.AdamW):
    def __init__(self, params, lr, bias_correction, betas, eps, adam_w_mode, weight_decay=0.0):
        self.made_with = {"bias_correction": bias_correction, "adam_w_mode": adam_w_mode}
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)
"""

AMP = """
from contextlib import contextmanager
from types import MethodType
import torch

calls, scaler, originals = [], {"loss_scale": 1024.0}, {}
overflow_at = ()  # numbers of the backward passes whose gradients overflow

def initialize(model, optimizer, opt_level, verbosity):
    calls.append(("initialize", opt_level))
    if opt_level == "O2":
        model.half()
        forward = model.forward
        model.forward = lambda x, labels: forward(x.half(), labels)
        optimizer._amp_lazy_init = MethodType(make_copies, optimizer)
        step = optimizer.step
        def step_and_copy(self):
            step()
            with torch.no_grad():
                for copy in master_params(self):
                    originals[id(copy)].copy_(copy)
        optimizer.step = MethodType(step_and_copy, optimizer)
    return model, optimizer

def make_copies(optimizer):
    for group in optimizer.param_groups:
        if group["params"][0].dtype == torch.half:
            copies = [p.detach().float() for p in group["params"]]
            originals.update(zip(map(id, copies), group["params"], strict=True))
            group["params"] = copies

def master_params(optimizer):
    for group in optimizer.param_groups:
        yield from group["params"]

@contextmanager
def scale_loss(loss, optimizer):
    calls.append("scale_loss")
    if hasattr(optimizer, "_amp_lazy_init"):
        optimizer._amp_lazy_init()
    owners = [(p, originals.get(id(p), p)) for p in master_params(optimizer)]
    kept = [p.grad for p, _ in owners]
    for p, owner in owners:
        p.grad = owner.grad = None
    yield loss.float() * scaler["loss_scale"]
    calls.append("unscaled")
    for (p, owner), before in zip(owners, kept, strict=True):
        gradient, owner.grad = owner.grad.to(p.dtype) / scaler["loss_scale"], None
        p.grad = gradient if before is None else before + gradient
    if calls.count("scale_loss") in overflow_at:
        step = optimizer.step
        def skip():
            optimizer.step = step
        optimizer.step = skip
        scaler["loss_scale"] /= 2

def state_dict():
    return {"loss_scaler0": dict(scaler)}

def load_state_dict(state):
    scaler.update(state["loss_scaler0"])
"""

STRATEGY = """
import torch
from drivetrain.plugin import StrategyPlugin

class OnGPU(StrategyPlugin):
    device = torch.device("cuda")
"""


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs code in a process that can import what is in the test's folder, and returns what it prints."""

    def run_code(code: str) -> str:
        (tmp_path / "gpu.py").write_text(STRATEGY)
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run_code


@pytest.fixture
def stand_in(tmp_path: Path) -> Path:
    """The folder of the package that stands in for NVIDIA Apex."""
    package = tmp_path / "apex"
    for part, content in {"": "", "optimizers": OPTIMIZERS, "amp": AMP}.items():
        (package / part).mkdir(parents=True, exist_ok=True)
        (package / part / "__init__.py").write_text(content)
    (tmp_path / "amp_C.py").touch()
    return package

"""When the step is compiled, when it is not, and what is said about it."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tagger import make_batch, make_tagger, take_steps
from torch import nn

from drivetrain import ArgumentsError
from drivetrain.parts import load_optimizer
from drivetrain_torchao.low_bit import AdamW8bit

pytestmark = pytest.mark.slow

NAMES = ["adamw_torch_4bit", "adamw_torch_8bit", "adamw_torch_fp8"]
README = Path(__file__).resolve().parents[3] / "plugins" / "torchao" / "README.md"

COMPARE = """
import torch
from drivetrain_torchao.low_bit import AdamW8bit

torch.manual_seed(0)
weight = torch.randn(64, 64)
ends = []
for is_compiled in (True, False):
    parameter = torch.nn.Parameter(weight.clone())
    optimizer = AdamW8bit([parameter], lr=0.01, is_compiled=is_compiled)
    for _ in range(2):
        parameter.square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    ends.append(parameter.detach())
torch.testing.assert_close(*ends)
assert not torch.equal(weight, ends[0])
assert bool(torch._dynamo.utils.counters["stats"]["unique_graphs"])
"""


@pytest.fixture
def without_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")


def find_said(args: Any) -> list[str]:
    return list(load_optimizer(args).warnings())


def is_compiled(args: Any) -> Any:
    return load_optimizer(args).build()[1]["is_compiled"]


def test_a_compiled_step_gives_the_same_weights_but_for_rounding_and_makes_no_noise() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", COMPARE],
        capture_output=True,
        text=True,
        env={
            **os.environ,
            "TORCHINDUCTOR_COMPILE_THREADS": "1",
        },  # the first step, once: no pool of them
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.usefixtures("without_compiler")
@pytest.mark.parametrize("optim", NAMES)
def test_without_a_compiler_the_step_is_not_compiled_and_that_is_said(
    optim: str, make_args: Any
) -> None:
    args = make_args(optim=optim, optim_args=None)
    assert not is_compiled(args)
    (said,) = find_said(args)
    assert said.startswith(f"`optim`: {optim!r} steps without torch.compile")
    assert "there is no C++ compiler (no-such-compiler;" in said
    assert said.endswith("Type optim_args='compile=False' to say that you know.")


@pytest.mark.usefixtures("without_compiler")
def test_without_a_compiler_nothing_is_said_to_whoever_knows(make_args: Any) -> None:
    assert find_said(make_args(optim_args="compile=False")) == []


@pytest.mark.usefixtures("without_compiler")
def test_a_compiled_step_that_cannot_be_is_refused(make_args: Any) -> None:
    with pytest.raises(ArgumentsError, match="^`optim_args`: compile=True cannot be: there is no C"):
        make_args(optim_args="compile=True")


@pytest.mark.parametrize("variable", ["TORCH_COMPILE_DISABLE", "TORCHDYNAMO_DISABLE"])
def test_compiling_that_is_switched_off_is_taken_for_an_obstacle(
    variable: str, make_args: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "1")
    assert not is_compiled(make_args(optim_args=None))
    with pytest.raises(ArgumentsError, match=f"the environment has {variable}=1"):
        make_args(optim_args="compile=True")


def test_on_an_older_gpu_only_float8_is_not_compiled(
    make_args: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda device: (8, 0))
    monkeypatch.setattr("drivetrain_torchao.compiling.find_spec", lambda name: SimpleNamespace())
    plugins = [load_optimizer(make_args(optim=optim, optim_args=None)) for optim in NAMES]
    monkeypatch.setattr(type(plugins[0].args), "device", torch.device("cuda", 0))
    compiled = {plugin.name: plugin.build()[1]["is_compiled"] for plugin in plugins}
    assert compiled == dict(zip(NAMES, (True, True, False), strict=True))
    (said,) = plugins[2].warnings()
    assert "compute capability 8.9, which cuda:0 has not" in said


def test_a_device_without_float8_is_refused(make_args: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = load_optimizer(make_args(optim="adamw_torch_fp8"))
    monkeypatch.setattr(type(plugin.args), "device", torch.device("mps"))
    (problem,) = plugin.problems()
    assert problem.startswith("`optim`: 'adamw_torch_fp8' needs float8, which mps does not have.")


def test_a_model_that_is_compiled_stays_so_around_a_step_that_is_not() -> None:
    graphs = []

    def backend(graph: Any, _: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    model = make_tagger()
    compiled = torch.compile(model, backend=backend)
    optimizer = AdamW8bit(model.parameters(), is_compiled=False)
    batch, losses = make_batch(0), []

    def compute_loss() -> float:
        optimizer.zero_grad()
        loss = compiled(**batch)["loss"]
        loss.backward()
        losses.append(loss.item())
        return losses[-1]

    for _ in range(3):
        optimizer.step(compute_loss)
    assert len(graphs) == 1
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("optim", NAMES)
def test_a_model_too_small_for_fewer_bits_is_told(
    optim: str, make_args: Any, caplog: pytest.LogCaptureFixture
) -> None:
    model = nn.Linear(32, 32)
    plugin = load_optimizer(make_args(optim=optim))
    with caplog.at_level(logging.WARNING):
        plugin.create(model, [{"params": list(model.parameters()), "weight_decay": 0.0}])
    assert f"`optim`: {optim!r} saves no memory here: no trained parameter has 4096" in caplog.text


def test_small_updates_of_bfloat16_weights_are_not_lost_with_stochastic_rounding() -> None:
    moved = []
    for is_random in (False, True):
        torch.manual_seed(0)
        parameter = nn.Parameter(torch.ones(64, 64, dtype=torch.bfloat16))
        optimizer = AdamW8bit(
            [parameter], lr=1e-4, weight_decay=0.0, bf16_stochastic_round=is_random, is_compiled=False
        )
        for _ in range(10):
            parameter.grad = torch.ones_like(parameter)
            optimizer.step()
        moved.append(1.0 - parameter.detach().float().mean().item())
    assert moved[0] == 0.0
    assert moved[1] == pytest.approx(10 * 1e-4, rel=0.2)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
@pytest.mark.parametrize("optim", NAMES)
def test_on_a_gpu_a_compiled_step_lowers_the_loss(optim: str, make_args: Any) -> None:
    model = make_tagger().to("cuda")
    plugin = load_optimizer(make_args(optim=optim, optim_args=None, use_cpu=False))
    optimizer = plugin.create(model, [{"params": list(model.parameters()), "weight_decay": 0.0}])
    losses = take_steps(model, optimizer, range(30))
    assert losses[-1] < losses[0]


def test_the_snippet_of_the_readme_runs(tmp_path: Path) -> None:
    (snippet,) = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", snippet], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr

"""What is said where NVIDIA Apex is missing, is another package, or lacks something."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from drivetrain import ArgumentsError, TrainingArguments
from drivetrain.testing import OptimizerSuite, PrecisionSuite

pytestmark = pytest.mark.slow

README = Path(__file__).resolve().parents[3] / "contrib" / "apex" / "README.md"
BUILD = "build NVIDIA Apex: git clone https://github.com/NVIDIA/apex"


class TestApexFusedAdamW(OptimizerSuite):
    name = "adamw_apex_fused"
    accepted_options = {"betas": (0.8, 0.99), "eps": 1e-3}
    refused_options = {"betas": (2.0, 0.9), "eps": -1.0}


class TestApex(PrecisionSuite):
    name = "apex"


@pytest.fixture
def refuse(run: Any) -> Callable[[], list[str]]:
    """What is said, on a GPU, against the optimizer and against the precision, each by itself."""
    code = """
from drivetrain import TrainingArguments
for arguments in ({"optim": "adamw_apex_fused"}, {"fp16": True, "half_precision_backend": "apex"}):
    try:
        TrainingArguments("out", strategy="gpu.OnGPU", report_to="none", **arguments)
    except ValueError as error:
        print(error)
    else:
        print("nothing")
"""
    return lambda: run(code).splitlines()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            {"optim": "adamw_apex_fused"},
            "`optim`: 'adamw_apex_fused' is a kernel for NVIDIA and AMD GPUs, and this run is on 'cpu'. "
            "Type optim='adamw_torch_fused', which is torch's own and runs here.",
        ),
        (
            {"fp16": True, "half_precision_backend": "apex"},
            "`half_precision_backend`: 'apex' is for NVIDIA GPUs, and this run is on 'cpu'. "
            "Type half_precision_backend='auto', which is torch's own.",
        ),
        (
            {"precision": "apex"},
            "`precision`: 'apex' is for NVIDIA GPUs, and this run is on 'cpu'. "
            "Type precision='fp16', which is torch's own.",
        ),
    ],
)
def test_a_cpu_is_refused_with_what_runs_there(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ArgumentsError) as caught:
        TrainingArguments("out", use_cpu=True, report_to="none", **arguments)
    assert str(caught.value) == said


def test_bfloat16_is_refused() -> None:
    said = r"`half_precision_backend`: 'apex' computes in float16, and contradicts `bf16`=True\. Type"
    with pytest.raises(ArgumentsError, match=said):
        TrainingArguments(
            "out", use_cpu=True, report_to="none", bf16=True, half_precision_backend="apex"
        )


@pytest.mark.skipif(find_spec("apex") is not None, reason="there is an `apex`")
def test_without_apex_it_says_how_to_do_without_and_how_to_build_it(refuse: Any, tmp_path: Path) -> None:
    (tmp_path / "apex").mkdir()  # a folder of that name is not taken for it
    optimizer, precision = refuse()
    start = "`optim`: 'adamw_apex_fused' cannot be used: NVIDIA Apex is not installed. "
    assert optimizer.startswith(
        f"{start}Type optim='adamw_torch_fused', which is torch's own, or {BUILD}"
    )
    start = "`half_precision_backend`: 'apex' cannot be used: NVIDIA Apex is not installed. "
    assert precision.startswith(
        f"{start}Type half_precision_backend='auto', which is torch's own, or {BUILD}"
    )


def test_the_web_toolkit_of_that_name_is_recognized(refuse: Any, tmp_path: Path) -> None:
    """By a package with modules of the names that it has, and an import that fails as its own does."""
    (tmp_path / "apex").mkdir()
    (tmp_path / "apex" / "__init__.py").write_text("import pyramid.interfaces_of_2013")
    (tmp_path / "apex" / "models.py").touch()
    for said in refuse():
        assert "cannot be used: the installed package 'apex' is not NVIDIA's" in said
        assert "toolkit for the web framework Pyramid). Type " in said
        assert f"or pip uninstall apex, and {BUILD}" in said


def test_an_apex_without_amp_has_the_optimizer_only(refuse: Any, stand_in: Path) -> None:
    shutil.rmtree(stand_in / "amp")
    assert refuse() == [
        "nothing",
        "`half_precision_backend`: 'apex' cannot be used: the installed NVIDIA Apex has no `apex.amp`, which "
        "newer versions leave out. Type half_precision_backend='auto', which is torch's own.",
    ]


def test_an_apex_without_its_kernels_has_amp_only(refuse: Any, stand_in: Path) -> None:
    (stand_in.parent / "amp_C.py").unlink()
    optimizer, precision = refuse()
    assert "Apex was built without its CUDA kernels. Type optim='adamw_torch_fused'" in optimizer
    assert precision == "nothing"


def test_an_apex_that_cannot_be_imported_is_told_why(refuse: Any, stand_in: Path) -> None:
    for part in ("optimizers", "amp"):
        (stand_in / part / "__init__.py").write_text("from torch._six import inf")
    for said in refuse():
        assert "NVIDIA Apex fails with ModuleNotFoundError: No module named 'torch._six'. Type" in said


def test_the_snippet_of_the_readme_runs(tmp_path: Path) -> None:
    (snippet,) = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", snippet], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr

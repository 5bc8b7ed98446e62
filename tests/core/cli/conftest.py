"""The command in a process that sees drivetrain, its one library, and the plugins of the test."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from fakes import plant_distribution

OPTIMIZER = """
from dataclasses import dataclass
from drivetrain.plugin import NoOptions, OptimizerPlugin

@dataclass(frozen=True)
class LionOptions:
    betas: tuple[float, float] = (0.9, 0.99)
    kind: str | None = None

class Lion(OptimizerPlugin):
    \"\"\"Sign of the momentum
    (arXiv:2302.06675).

    More of it.
    \"\"\"

    Options = LionOptions
    cannot = {"fp16": "it has no scale"}
    unused_arguments = ("adam_epsilon",)

    def build(self):
        raise NotImplementedError

class Plain(OptimizerPlugin):
    def build(self):
        raise NotImplementedError
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """The folder that the plugins of a test are installed in."""
    folder = tmp_path / "site"
    folder.mkdir()
    return folder


@pytest.fixture
def install(site: Path) -> Callable[..., None]:
    """A function that installs a distribution of one module; keyword arguments are its optimizers."""

    def install(
        name: str,
        version: str = "1.0",
        *,
        source: str = OPTIMIZER,
        group: str = "drivetrain.optimizers",
        requires: Sequence[str] = (),
        folder: Path = site,
        **entries: str,
    ) -> None:
        module = name.replace("-", "_")
        values = {n: v if ":" in v else f"{module}:{v}" for n, v in entries.items()}
        plant_distribution(
            folder, name, version, source=source, entry_points={group: values}, requires=requires
        )

    return install


@pytest.fixture
def environment(site: Path, tmp_path: Path) -> dict[str, str]:
    """Environment variables with which ``python -S`` finds the test's plugins and no others."""
    libraries = tmp_path / "libraries"
    libraries.mkdir()
    for name in ("drivetrain", "drivetrain_registry", "pluggy"):
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        (libraries / name).symlink_to(Path(spec.origin).parent, target_is_directory=True)
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), str(libraries)])}


@pytest.fixture
def run(environment: dict[str, str]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """A function that runs the command where only the test's plugins are installed."""

    def run(*args: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-S", "-m", "drivetrain.cli", *args]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)

    return run

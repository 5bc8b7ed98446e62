"""Wheels of this repository's distributions, and environments to install them in."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock
from packaging.requirements import Requirement
from projects import find_projects
from venvs import Venv, make_venv

OURS = ("drivetrain-core", "drivetrain-torch", "drivetrain-tensorboard")
"""What ``pip install drivetrain`` installs and what these tests install besides."""

SCRIPTS = Path(__file__).parent / "scripts"


@pytest.fixture(scope="session")
def wheelhouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a wheel of every distribution, built once for all processes of a test run."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "wheelhouse"
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            build_wheels(folder)
    return folder


def build_wheels(folder: Path) -> None:
    """Build every distribution with the build backend that is installed here."""
    sources = [str(project.folder) for project in find_projects()]
    command = ["wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "-w", str(folder)]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", *command, *sources],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def find_libraries() -> tuple[str, ...]:
    """Find what environments borrow, so that drivetrain can be installed and tested in them."""
    ours = [project for project in find_projects() if project.name in OURS]
    needed = {Requirement(line).name for project in ours for line in project.requirements}
    return ("pytest", *sorted(name for name in needed if not name.startswith("drivetrain")))


@pytest.fixture
def bare_venv(tmp_path: Path, wheelhouse: Path) -> Venv:
    """An environment with pip and nothing else."""
    return make_venv(tmp_path / "bare-venv", wheelhouse, borrowed=())


@pytest.fixture(scope="module")
def fresh_venv(tmp_path_factory: pytest.TempPathFactory, wheelhouse: Path) -> Callable[[], Venv]:
    """Makes environments in which `drivetrain` is installed from its wheels."""

    def make() -> Venv:
        folder = tmp_path_factory.mktemp("fresh") / "venv"
        made = make_venv(folder, wheelhouse, find_libraries())
        made.install("drivetrain")
        return made

    return make


@pytest.fixture(scope="session")
def training_script() -> Path:
    """A user's script that trains a tiny model with the optimizer it is told."""
    return SCRIPTS / "train_tiny.py"

"""What a user is told to type to get a part of ours that is not there, or not whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from projects import REPOSITORY, read_project
from venvs import Venv

pytestmark = pytest.mark.slow


def test_first_the_plugin_is_missing_then_its_library(
    fresh_venv: Callable[[], Venv], training_script: Path, tmp_path: Path
) -> None:
    venv = fresh_venv()
    train = (training_script, "--optim", "galore_adamw")

    refused = venv.run("python", *train, cwd=tmp_path, fails=True)
    assert "model built" not in refused.stdout
    assert "UnknownNameError: `optim`: 'galore_adamw' is not installed." in refused.stderr
    assert refused.stderr.rstrip().endswith("Type: pip install drivetrain-galore")

    galore = read_project(REPOSITORY / "plugins" / "galore")
    venv.pip("install", "--no-deps", "--no-index", venv.wheelhouse / galore.wheel)
    refused = venv.run("python", *train, cwd=tmp_path, fails=True)
    assert "model built" not in refused.stdout
    assert f"MissingLibraryError: `optim`: 'galore_adamw' is provided by {galore.name}" in refused.stderr
    assert 'Type: pip install "bitsandbytes>=0.50" "galore-torch>=1.0"' in refused.stderr
    assert "library missing" in venv.run("drivetrain", "plugins").stdout

"""wandb writes into the test's folder, and reads nothing of the person who runs the tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

FOLDER_VARIABLES = ("WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_ARTIFACT_DIR")


@pytest.fixture(autouse=True)
def wandb_environment(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("WANDB_") and name != "WANDB_SERVICE"]:
        monkeypatch.delenv(name)
    private = tmp_path_factory.mktemp("wandb")
    for name in FOLDER_VARIABLES:
        monkeypatch.setenv(name, str(private / name.lower()))
    monkeypatch.setenv("NETRC", str(private / "netrc"))
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))

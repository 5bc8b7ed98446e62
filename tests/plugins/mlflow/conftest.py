"""A database of MLflow's for each test: made once, and copied."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest


def _without_mlflow(patch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if "MLFLOW" in name]:
        patch.delenv(name)


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database file with MLflow's tables and nothing in them."""
    folder = tmp_path_factory.mktemp("migrated")
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what MLflow itself calls of SQLAlchemy's is deprecated
        from mlflow import MlflowClient

        _without_mlflow(patch)
        patch.chdir(folder)
        MlflowClient(f"sqlite:///{folder / 'mlflow.db'}").get_experiment("0")
    return folder / "mlflow.db"


@pytest.fixture(scope="module", autouse=True)
def nothing_from_outside(migrated: Path) -> Iterator[None]:
    """No variable of MLflow's that the tests do not set, and none that they leave behind."""
    with pytest.MonkeyPatch.context() as patch:
        _without_mlflow(patch)
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        yield


@pytest.fixture
def store(
    migrated: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> str:
    """The address of an empty database, which MLFLOW_TRACKING_URI leads to; its folder is the working one."""
    folder = tmp_path_factory.mktemp("store")
    shutil.copy(migrated, folder / "mlflow.db")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
    for name in ("MLFLOW_EXPERIMENT_ID", "MLFLOW_RUN_ID"):  # MLflow sets and removes these itself
        monkeypatch.delenv(name, raising=False)
    return f"sqlite:///{folder / 'mlflow.db'}"

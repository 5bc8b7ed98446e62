"""MLflow, without what it does that nobody asked for."""

from __future__ import annotations

import importlib.util
import logging
import os
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

TIMEOUT = 20
MAX_RETRIES = 4
"""Seconds for an answer, and further tries: half a minute if nobody listens, and two if nobody answers.

MLflow's own, 120 and 7, would be four minutes and sixteen.
"""


_SCHEMES = ("file", "http", "https", "databricks", "databricks-uc", "uc")
_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
"""Followed by the name of a driver, maybe."""


def load() -> Any:
    """Import MLflow, which takes seconds.

    Where the environment does not say them, its time-out and number of retries become those above in this
    process, and it does not tell on the terminal that it makes the tables of a database.
    """
    import mlflow
    from mlflow import environment_variables as variables

    variables.MLFLOW_HTTP_REQUEST_TIMEOUT.default = TIMEOUT
    variables.MLFLOW_HTTP_REQUEST_MAX_RETRIES.default = MAX_RETRIES
    if "MLFLOW_LOGGING_LEVEL" not in os.environ:
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
    return mlflow


def switch_off_telemetry() -> None:
    """Keep MLflow from reporting on its use, unless the environment says what it is to do.

    MLflow looks once, when it is imported.
    """
    if "mlflow" not in sys.modules:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")


def find_active_run() -> Any:
    """The run that the user began in this thread, or None."""
    mlflow = sys.modules.get("mlflow")
    find: Callable[[], Any] | None = getattr(mlflow, "active_run", None)  # None while it is imported
    return None if find is None else find()


def knows_scheme(scheme: str) -> bool:
    """Whether MLflow, or a package that is installed for it, keeps runs at addresses that begin so."""
    scheme = scheme.lower()
    if len(scheme) < 2 or scheme in _SCHEMES or scheme.startswith(_DATABASES):  # one letter: a drive
        return True
    return scheme in {entry.name for entry in entry_points(group="mlflow.tracking_store")}


def refuses_folders() -> bool:
    """Whether this version keeps runs in a folder of files only where the environment allows it."""
    spec = importlib.util.find_spec("mlflow")
    if spec is None or spec.origin is None:
        return False
    variables = Path(spec.origin).with_name("environment_variables.py")
    return variables.is_file() and "MLFLOW_ALLOW_FILE_STORE" in variables.read_text(encoding="utf-8")

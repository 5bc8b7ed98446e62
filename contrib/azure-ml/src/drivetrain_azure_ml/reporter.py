"""Sends what a run logs to a workspace of Azure Machine Learning, which takes what MLflow sends."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable
from typing import ClassVar

from drivetrain.plugin import find_missing_library
from drivetrain_mlflow.reporter import MLflow
from drivetrain_mlflow.settings import Settings

SCHEME = "azureml:"
MOST_PARAMETERS = 200
"""Of a run in a workspace; with one more, it refuses all of a request."""


class AzureML(MLflow):
    """The reporter `mlflow` with the address of a workspace of Azure Machine Learning.

    In a job there, the run is the job's, and the job ends it.
    """

    ends_given_run: ClassVar[bool] = False

    def problems(self) -> Iterable[str]:
        """Say what is missing: the address of a workspace, or the package that sends to it."""
        yield from super().problems()
        uri = self.options.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI", "")
        if not uri.startswith(SCHEME):
            found = f"MLFLOW_TRACKING_URI is {uri!r}" if uri else "MLFLOW_TRACKING_URI is not set"
            yield (
                f"`report_to`: {self.name!r} needs the address of a workspace of Azure Machine Learning, and "
                f"{found}. Type: export MLFLOW_TRACKING_URI=$(az ml workspace show --name WORKSPACE "
                "--resource-group GROUP --query mlflow_tracking_uri --output tsv)"
            )
        yield from find_missing_library(self.name, "azureml.mlflow", "azureml-mlflow")

    def settings(self) -> Settings:
        """The same, with the job's run, and no more parameters than a workspace takes."""
        settings = super().settings()
        most = MOST_PARAMETERS if settings.max_params is None else settings.max_params
        run_id = settings.run_id or os.environ.get("AZUREML_RUN_ID") or None
        return dataclasses.replace(settings, run_id=run_id, max_params=most)

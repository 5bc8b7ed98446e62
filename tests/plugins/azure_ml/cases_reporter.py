"""The reporter with a workspace, which `test_reporter.py` puts a stand-in in the place of."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from tests.support.small import make_trainer

from drivetrain.testing import ReporterSuite


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("migrated")
    MlflowClient(f"azureml://{folder}").get_experiment("0")
    return folder / "workspace.db"


@pytest.fixture(autouse=True)
def workspace(
    migrated: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> MlflowClient:
    """A client of an empty workspace, which the environment leads to."""
    folder = tmp_path_factory.mktemp("workspace")
    shutil.copy(migrated, folder)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"azureml://{folder}")
    return MlflowClient()


class TestAzureML(ReporterSuite):
    name = "azure_ml"
    exempt = {
        "test_import": "It is the reporter `mlflow`, which its distribution requires, at another address.",
        "test_odd_values": "It sends values as the reporter `mlflow` does.",
        "test_second_run": "It begins runs as the reporter `mlflow` does.",
    }

    def read_back(self, folder: Path) -> list[dict[str, Any]]:
        client = MlflowClient()
        return [
            {"step": point.step, name: point.value}
            for run in client.search_runs(["0"])
            for name in run.data.metrics
            for point in client.get_metric_history(run.info.run_id, name)
        ]


@pytest.mark.parametrize("variable", ["MLFLOW_RUN_ID", "AZUREML_RUN_ID"])
def test_in_a_job_it_reports_to_the_jobs_run_and_does_not_end_it(
    workspace: MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    job = workspace.create_run("0", run_name="job").info.run_id
    monkeypatch.setenv(variable, job)
    trainer = make_trainer(output_dir=tmp_path, report_to="azure_ml")
    trainer.train()
    (run,) = workspace.search_runs(["0"])
    assert (run.info.run_id, run.info.status) == (job, "RUNNING")
    losses = [(entry["step"], entry["loss"]) for entry in trainer.state.log_history if "loss" in entry]
    points = workspace.get_metric_history(job, "train/loss")
    assert sorted((point.step, point.value) for point in points) == losses


def test_elsewhere_it_begins_a_run_ends_it_and_goes_on_with_it(
    workspace: MlflowClient, tmp_path: Path
) -> None:
    arguments = {
        "output_dir": tmp_path,
        "report_to": "azure_ml",
        "reporter_args": {"azure_ml": {"experiment": "lines"}},
        "save_strategy": "steps",
        "save_steps": 3,
    }
    make_trainer(**arguments).train()
    make_trainer(**arguments).train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
    (run,) = workspace.search_runs([workspace.get_experiment_by_name("lines").experiment_id])
    assert run.info.status == "FINISHED"
    points = workspace.get_metric_history(run.info.run_id, "train/loss")
    assert sorted(point.step for point in points) == [1, 2, 3, 4, 5, 6]


def test_no_more_parameters_are_sent_than_a_workspace_takes(
    workspace: MlflowClient, tmp_path: Path
) -> None:
    trainer = make_trainer(output_dir=tmp_path, report_to="azure_ml", max_steps=1)
    trainer.model.config = {f"entry {number}": number for number in range(300)}
    trainer.train()
    (run,) = workspace.search_runs(["0"])
    assert len(run.data.params) == 200
    assert run.data.params["learning_rate"] == "0.01"

"""Which run and which experiment it reports to, and what options and environment change."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow import MlflowClient
from torch import nn

from drivetrain import TrainingArguments
from drivetrain.arguments import ArgumentsError
from drivetrain.parts import load_reporter
from drivetrain.plugin import Run, UsageError

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("store")]


def report(
    losses: dict[int, float],
    *,
    start_step: int = 0,
    state: Any = None,
    config: dict[str, Any] | None = None,
    project: str | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Do what core does with a reporter in one call of `train`; return its state."""
    args = TrainingArguments(
        "out", report_to="mlflow", project=project, reporter_args={"mlflow": options}, use_cpu=True
    )
    reporter = load_reporter(args, "mlflow")
    reporter.prepare()
    reporter.open(Run("a run", config or {}, nn.Linear(1, 1), start_step, {}, state or {}))
    for step, loss in losses.items():
        reporter.log({"train/loss": loss}, step)
    reporter.close("finished")
    return dict(reporter.state())


def steps(run_id: str, name: str = "train/loss") -> list[int]:
    return sorted(point.step for point in MlflowClient().get_metric_history(run_id, name))


def problems(**arguments: Any) -> str:
    try:
        TrainingArguments("out", report_to="mlflow", use_cpu=True, **arguments)
    except UsageError as error:
        return "\n".join(error.problems) if isinstance(error, ArgumentsError) else str(error)
    return ""


def test_a_run_that_the_user_began_gets_all_and_is_not_ended() -> None:
    with mlflow.start_run() as own:
        mlflow.log_metric("mine", 1.0, step=1)
        state = report({1: 0.5})
        assert state["run_id"] == own.info.run_id
        assert MlflowClient().get_run(own.info.run_id).info.status == "RUNNING"
        assert mlflow.active_run().info.run_id == own.info.run_id
    assert set(MlflowClient().get_run(own.info.run_id).data.metrics) == {"mine", "train/loss"}


@pytest.mark.parametrize("by", ["option", "environment"])
def test_a_nested_run_is_begun_below_it_and_ended(by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if by == "environment":
        monkeypatch.setenv("MLFLOW_NESTED_RUN", "TRUE")
    with mlflow.start_run() as own:
        state = report({1: 0.5}, **({"nested": True} if by == "option" else {}))
        run = MlflowClient().get_run(state["run_id"])
        assert run.data.tags["mlflow.parentRunId"] == own.info.run_id
        assert run.info.status == "FINISHED"


def test_the_run_of_the_environment_is_gone_on_with_once(monkeypatch: pytest.MonkeyPatch) -> None:
    given = MlflowClient().create_run("0", run_name="given").info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", given)
    first, second = report({1: 0.5}), report({1: 0.25})
    assert first["run_id"] == given != second["run_id"]
    assert MlflowClient().get_run(given).info.status == "FINISHED"


def test_a_resumed_run_leaves_out_exactly_the_steps_that_are_there() -> None:
    state = report({1: 1.0, 2: 0.5, 4: 0.25})
    again = report({3: 3.0, 4: 4.0, 5: 5.0}, start_step=2, state=state)
    assert again["run_id"] == state["run_id"]
    assert steps(state["run_id"]) == [1, 2, 3, 4, 5]


def test_a_checkpoint_that_was_saved_before_the_run_had_its_name_leads_to_it() -> None:
    state = report({1: 1.0, 2: 0.5})
    again = report({2: 0.5, 3: 0.25}, start_step=1, state={"mark": state["mark"]})
    assert again["run_id"] == state["run_id"]
    assert steps(state["run_id"]) == [1, 2, 3]


def test_if_the_run_is_not_there_another_is_begun_with_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    state = report({1: 1.0})
    MlflowClient().delete_run(state["run_id"])
    with caplog.at_level(logging.WARNING, "drivetrain_mlflow"):
        again = report({2: 0.5}, start_step=1, state=state)
    assert again["run_id"] != state["run_id"]
    assert steps(again["run_id"]) == [2]
    (said,) = [record.getMessage() for record in caplog.records]
    assert state["run_id"] in said
    assert "another is begun" in said


def test_the_option_then_the_environment_then_the_argument_name_the_experiment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def experiment(**given: Any) -> str:
        return str(MlflowClient().get_experiment(report({}, **given)["experiment_id"]).name)

    assert experiment() == "Default"
    assert experiment(project="argument") == "argument"
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", MlflowClient().create_experiment("by id"))
    assert experiment(project="argument") == "by id"
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "by name")
    assert experiment(project="argument") == "by name"
    assert experiment(experiment="option") == "option"


def test_an_experiment_that_was_deleted_is_refused_with_what_to_do() -> None:
    client = MlflowClient()
    client.delete_experiment(client.create_experiment("gone"))
    with pytest.raises(UsageError, match="'gone' was deleted. Type: mlflow experiments restore"):
        report({}, experiment="gone")


def test_parameters_that_are_too_long_are_cut_and_those_of_the_run_are_kept(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING, "drivetrain_mlflow"):
        state = report({}, config={"long": "x" * 7000, "rate": 1})
    params = MlflowClient().get_run(state["run_id"]).data.params
    assert params == {"long": "x" * 6000, "rate": "1"}
    with caplog.at_level(logging.WARNING, "drivetrain_mlflow"):
        report({}, config={"rate": 2, "new": 3}, state=state, start_step=1)
    params = MlflowClient().get_run(state["run_id"]).data.params
    assert (params["rate"], params["new"]) == ("1", "3")
    cut, kept = (record.getMessage() for record in caplog.records)
    assert "'long' is cut to 6000 characters" in cut
    assert kept.startswith("mlflow: the run ")
    assert kept.endswith("keeps the parameters that it has, which are others now: rate.")


def test_that_parameters_are_others_is_said_once_and_not_of_the_folder_named_by_the_time(
    caplog: pytest.LogCaptureFixture,
) -> None:
    state = report({}, config={"logging_dir": "runs/one", "rate": 1})
    reporter = load_reporter(TrainingArguments("out", report_to="mlflow", use_cpu=True), "mlflow")
    with caplog.at_level(logging.WARNING, "drivetrain_mlflow"):
        for _ in ("train", "evaluate"):
            config = {"logging_dir": "runs/two", "rate": 2}
            reporter.open(Run("a run", config, nn.Linear(1, 1), 1, {}, state))
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.endswith("others now: rate.")


def test_more_parameters_than_fit_into_a_request_arrive_flat_where_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = {"model_config": {"sizes": {f"layer {i}": i for i in range(250)}, "rate": 9}, "rate": 1}
    monkeypatch.setenv("MLFLOW_FLATTEN_PARAMS", "1")
    params = MlflowClient().get_run(report({}, config=config)["run_id"]).data.params
    assert params == {"rate": "1", **{f"sizes.layer {i}": str(i) for i in range(250)}}
    monkeypatch.setenv("MLFLOW_MAX_LOG_PARAMS", "120")
    assert len(MlflowClient().get_run(report({}, config=config)["run_id"]).data.params) == 120
    assert (
        len(MlflowClient().get_run(report({}, config=config, max_params=3)["run_id"]).data.params) == 3
    )


def test_the_environment_names_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_RUN_NAME", "of the environment")
    assert MlflowClient().get_run(report({})["run_id"]).info.run_name == "of the environment"


def test_the_time_for_an_answer_is_short_unless_the_environment_says_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from mlflow import environment_variables as variables

    report({})
    assert variables.MLFLOW_HTTP_REQUEST_TIMEOUT.get() == 20
    assert variables.MLFLOW_HTTP_REQUEST_MAX_RETRIES.get() == 4
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "6")
    assert variables.MLFLOW_HTTP_REQUEST_MAX_RETRIES.get() == 6


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        (
            "MLFLOW_TAGS",
            "team=vision",
            "MLFLOW_TAGS='team=vision' is no JSON object. Type: export MLFLOW_TAGS=",
        ),
        ("MLFLOW_MAX_LOG_PARAMS", "many", "MLFLOW_MAX_LOG_PARAMS='many' is no whole number"),
        ("MLFLOW_HTTP_REQUEST_TIMEOUT", "1.5", "MLFLOW_HTTP_REQUEST_TIMEOUT='1.5' is no whole number"),
        (
            "DISABLE_MLFLOW_INTEGRATION",
            "TRUE",
            "is switched off by DISABLE_MLFLOW_INTEGRATION. Type: unset",
        ),
        ("MLFLOW_TRACKING_URI", "./runs", "in the folder './runs', which MLflow refuses. Type: export"),
        ("MLFLOW_TRACKING_URI", "file:///runs", "in the folder 'file:///runs', which MLflow refuses"),
        (
            "MLFLOW_TRACKING_URI",
            "foo://me:secret@x",
            "MLFLOW_TRACKING_URI='foo://x' begins with 'foo': ",
        ),
        ("MLFLOW_TRACKING_URI", "azureml://x", "such an address. Type: pip install azureml-mlflow"),
    ],
)
def test_what_cannot_work_is_said_when_the_arguments_are_made(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, said: str
) -> None:
    monkeypatch.setenv(variable, value)
    assert said in problems()


@pytest.mark.parametrize(
    "uri",
    ["postgresql+psycopg2://host/db", "https://host", "databricks", "databricks://team", "uc:host"],
)
def test_an_address_of_a_kind_that_mlflow_knows_is_taken(uri: str) -> None:
    assert problems(reporter_args={"mlflow": {"tracking_uri": uri}}) == ""


def test_a_folder_may_be_allowed_and_is_found_where_mlflow_would_go_on_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert problems() == ""
    Path("mlruns/0").mkdir(parents=True)
    Path("mlruns/0/meta.yaml").touch()
    assert "in the folder 'mlruns'" in problems()
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    assert problems() == ""


def test_without_mlflow_it_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    assert "Type: pip install 'mlflow-skinny>=3.10' sqlalchemy alembic" in problems()


def test_a_password_in_the_address_is_not_kept_in_checkpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    from drivetrain_mlflow.reporter import without_password

    assert without_password("postgresql://me:secret@host:1/db") == "postgresql://host:1/db"
    state = report({})
    assert json.loads(json.dumps(state)) == state

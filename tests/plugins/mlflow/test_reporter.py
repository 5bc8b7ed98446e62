"""What the reporter sends, read back with MLflow's client from a database file."""

from __future__ import annotations

import logging
import random
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
import torch
from mlflow import MlflowClient
from tests.support.small import are_equal, make_trainer, weights_of

from drivetrain import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from drivetrain.plugin import Image
from drivetrain.testing import ReporterSuite

pytestmark = pytest.mark.slow

WIDE = {"hidden": 3, "labels": {"0": "no", "1": "yes"}}


class TestMLflow(ReporterSuite):
    name = "mlflow"
    refused_options = {"max_params": -1}

    @pytest.fixture(autouse=True)
    def empty_store(self, store: str) -> None:
        self.store = store

    def read_back(self, folder: Path) -> list[dict[str, Any]]:
        client = MlflowClient(self.store)
        found = []
        for run in client.search_runs(["0"]):
            for name in run.data.metrics:
                points = client.get_metric_history(run.info.run_id, name)
                found += [{"step": point.step, name: point.value} for point in points]
        # The one name that MLflow does not take as it is.
        renamed = "eval/a name_ with/slashes"
        return [
            {key.replace(renamed, "eval/a name, with/slashes"): value for key, value in entry.items()}
            for entry in found
        ]


class Reports(TrainerCallback):
    """Gives texts and pictures, and ends a run with an error."""

    def __init__(self, error_at: int = 0, error: BaseException | None = None) -> None:
        self.trainer: Trainer | None = None
        self.error_at, self.error = error_at, error

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        assert self.trainer is not None
        step = state.global_step
        if step in (2, 5):
            pixels = np.full((4, 6, 3), step, np.uint8)
            self.trainer.report({"train/sample": f"at {step}", "train/picture": Image(pixels, "grey")})
        if step == 3:
            self.trainer.report({"train/none": float("nan"), "train/all (of it)": float("inf")})
        if step == self.error_at and self.error is not None:
            raise self.error


def make(output_dir: Path, callback: Reports, **arguments: Any) -> Trainer:
    trainer = make_trainer(
        output_dir=output_dir,
        callbacks=[callback],
        **{"report_to": "mlflow", "eval_strategy": "steps", "eval_steps": 3, **arguments},
    )
    trainer.model.config = WIDE
    callback.trainer = trainer
    return trainer


def history(client: MlflowClient, run_id: str, name: str) -> list[tuple[int, float]]:
    points = client.get_metric_history(run_id, name)
    return sorted((point.step, point.value) for point in points)


def logged(trainer: Trainer, name: str) -> list[tuple[int, float]]:
    return [(entry["step"], entry[name]) for entry in trainer.state.log_history if name in entry]


def files(client: MlflowClient, run_id: str, folder: str | None = None) -> set[str]:
    found = set()
    for file in client.list_artifacts(run_id, folder):
        found |= files(client, run_id, file.path) if file.is_dir else {file.path}
    return found


@dataclass
class Finished:
    trainer: Trainer
    client: MlflowClient
    run: Any
    random_before: Any
    random_after: Any


def _random_states() -> Any:
    return random.getstate(), np.random.get_state()[1].tolist(), np.random.get_state()[2]


@pytest.fixture(scope="module")
def finished(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A run with everything in it."""
    folder = tmp_path_factory.mktemp("finished")
    shutil.copy(migrated, folder / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
        patch.setenv("MLFLOW_TAGS", '{"team": "vision", "round": 2}')
        patch.setenv("HF_MLFLOW_LOG_ARTIFACTS", "TRUE")
        trainer = make(
            folder / "out",
            Reports(),
            project="lines",
            run_name="first",
            reporter_args={"mlflow": {"tags": {"team": "text"}, "description": "A *short* one."}},
            save_strategy="steps",
            save_steps=3,
            save_total_limit=1,
        )
        before = _random_states()
        trainer.train()
        after = _random_states()
        client = MlflowClient()
        experiment = client.get_experiment_by_name("lines")
        (run,) = client.search_runs([experiment.experiment_id])
        yield Finished(trainer, client, run, before, after)


@pytest.mark.parametrize(
    ("name", "reported"),
    [
        ("loss", "train/loss"),
        ("grad_norm", "train/grad_norm"),
        ("learning_rate", "train/learning_rate"),
        ("eval_loss", "eval/loss"),
        ("train_loss", "train/train_loss"),
    ],
)
def test_each_number_is_there_once_at_its_step(finished: Finished, name: str, reported: str) -> None:
    expected = logged(finished.trainer, name)
    assert expected
    assert history(finished.client, finished.run.info.run_id, reported) == expected


def test_arguments_sizes_and_the_models_configuration_are_parameters(finished: Finished) -> None:
    params = finished.run.data.params
    assert params["learning_rate"] == "0.01"
    assert params["seed"] == "42"
    assert params["model"] == "Net"
    assert params["num_parameters"] == "195"
    assert params["hidden"] == "3"
    assert params["labels"] == str(WIDE["labels"])


def test_the_run_has_its_name_its_state_and_its_tags(finished: Finished) -> None:
    info, tags = finished.run.info, finished.run.data.tags
    assert (info.run_name, info.status) == ("first", "FINISHED")
    assert info.end_time >= info.start_time
    assert (tags["team"], tags["round"]) == ("text", "2")
    assert tags["mlflow.note.content"] == "A *short* one."
    assert "run/error" not in tags


def test_what_is_not_finite_is_kept_as_mlflow_keeps_it(finished: Finished) -> None:
    metrics = finished.run.data.metrics
    assert np.isnan(metrics["train/none"])
    assert metrics["train/all _of it_"] > 1e308


def test_texts_are_artifacts(finished: Finished) -> None:
    client, run_id = finished.client, finished.run.info.run_id
    texts = sorted(files(client, run_id, "texts/train/sample"))
    assert [mlflow.artifacts.load_text(f"runs:/{run_id}/{path}") for path in texts] == ["at 2", "at 5"]


def test_pictures_are_mlflows_pictures_by_step(finished: Finished) -> None:
    client, run_id = finished.client, finished.run.info.run_id
    found = sorted(path for path in files(client, run_id, "images") if path.endswith(".png"))
    assert [path.split("+timestamp")[0] for path in found] == [
        "images/train~picture+step+2",
        "images/train~picture+step+5",
    ]
    picture = mlflow.artifacts.load_image(f"runs:/{run_id}/{found[1]}")
    assert np.array(picture).tolist() == np.full((4, 6, 3), 5).tolist()
    caption = f"runs:/{run_id}/texts/train/picture/step-00000005.txt"
    assert mlflow.artifacts.load_text(caption) == "grey"


def test_checkpoints_and_the_model_are_artifacts_where_that_is_asked_for(finished: Finished) -> None:
    found = files(finished.client, finished.run.info.run_id)
    for folder in ("checkpoint-3", "checkpoint-6", "model"):  # the first is gone from the disk
        assert f"{folder}/model.safetensors" in found


def test_the_training_is_the_same_as_without_it(finished: Finished, tmp_path: Path) -> None:
    plain = make(tmp_path, Reports(), report_to="none")
    plain.train()
    assert are_equal(weights_of(plain), weights_of(finished.trainer))
    assert finished.random_after == finished.random_before


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (ArithmeticError("too small"), "FAILED", "ArithmeticError: too small"),
        (KeyboardInterrupt(), "KILLED", None),
    ],
)
def test_a_run_that_does_not_finish_says_so(
    store: str, tmp_path: Path, error: BaseException, status: str, said: str | None
) -> None:
    trainer = make(tmp_path, Reports(error_at=4, error=error))
    with pytest.raises(type(error)):
        trainer.train()
    client = MlflowClient()
    (run,) = client.search_runs(["0"])
    assert run.info.status == status
    assert run.data.tags.get("run/error") == said
    assert history(client, run.info.run_id, "train/loss") == logged(trainer, "loss")


def test_a_resumed_run_goes_on_in_the_same_run_without_a_double_step(
    store: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    saving = {"save_strategy": "steps", "save_steps": 3, "project": "resumed"}
    lost = make(tmp_path, Reports(error_at=5, error=ArithmeticError()), **saving)
    with pytest.raises(ArithmeticError):
        lost.train()
    client = MlflowClient()
    experiment_id = client.get_experiment_by_name("resumed").experiment_id
    (run,) = client.search_runs([experiment_id])
    assert 4 in [step for step, _ in history(client, run.info.run_id, "train/loss")]
    assert "run/error" in run.data.tags
    resumed = make(tmp_path, Reports(), **saving)
    with caplog.at_level(logging.INFO, "drivetrain"):
        resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
    assert "mlflow: the steps 4 to " in caplog.text
    (run,) = client.search_runs([experiment_id])
    assert run.info.status == "FINISHED"
    assert "run/error" not in run.data.tags
    for name, reported in (("loss", "train/loss"), ("eval_loss", "eval/loss")):
        assert history(client, run.info.run_id, reported) == logged(resumed, name)
    pictures = [path for path in files(client, run.info.run_id, "images") if path.endswith(".png")]
    assert len(pictures) == 2
    before = torch.tensor(logged(resumed, "eval_loss")[-1][1])
    assert (
        torch.tensor(resumed.evaluate()["eval_loss"]) == before
    )  # in the same run, too, at the same step
    assert len(client.search_runs([experiment_id])) == 1

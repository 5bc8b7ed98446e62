"""What the reporter writes, read back as DVC does: from TSV, JSON and YAML files, and from its repository."""

from __future__ import annotations

import csv
import json
import logging
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from small import are_equal, make_args, make_samples, make_trainer, weights_of

from drivetrain import TrainerCallback, UsageError
from drivetrain.callbacks.reporting import ReporterCallback
from drivetrain.plugin import Image, Run
from drivetrain.testing import ReporterSuite
from drivetrain.testing.recording import EndsAtStep
from drivetrain_dvclive.reporter import DVCLive, DVCLiveOptions

OUTSIDE = ("HF_DVCLIVE_LOG_MODEL", "DVC_EXP_NAME", "DVC_ROOT", "DVCLIVE_RESUME", "DVC_STUDIO_TOKEN")


@pytest.fixture(autouse=True)
def nothing_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in OUTSIDE:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIT_AUTHOR_NAME", "somebody")
    monkeypatch.setenv("GIT_AUTHOR_EMAIL", "somebody@example.com")
    monkeypatch.setenv("GIT_COMMITTER_NAME", "somebody")
    monkeypatch.setenv("GIT_COMMITTER_EMAIL", "somebody@example.com")


def read_rows(folder: Path) -> list[dict[str, Any]]:
    root = folder / "plots" / "metrics"
    found = []
    for path in root.rglob("*.tsv"):
        name = path.relative_to(root).with_suffix("").as_posix()
        with path.open(newline="") as file:
            for row in csv.DictReader(file, delimiter="\t"):
                found.append({"step": int(row["step"]), name: float(row[name.split("/")[-1]])})
    return found


def read_metric(folder: Path, name: str) -> list[tuple[int, float]]:
    return [(row["step"], row[name]) for row in read_rows(folder) if name in row]


def read_summary(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "metrics.json").read_text())


def history(trainer: Any, name: str) -> list[tuple[int, float]]:
    return [(entry["step"], entry[name]) for entry in trainer.state.log_history if name in entry]


class TestDVCLive(ReporterSuite):
    name = "dvclive"

    def read_back(self, folder: Path) -> list[dict[str, Any]]:
        return read_rows(folder / "dvclive")


class Tells(TrainerCallback):
    """Reports a text and a picture after the second update."""

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == 2:
            picture = Image(np.full((2, 3, 3), 200, np.uint8), "grey")
            self.trainer.report({"eval/sample": "once upon\ta time", "eval/picture": picture})


def test_a_run_is_written_as_its_history_says_and_computes_what_it_computes_without(
    tmp_path: Path,
) -> None:
    options: dict[str, Any] = {"max_steps": 4, "eval_strategy": "steps", "eval_steps": 2}
    plain = make_trainer(output_dir=tmp_path / "plain", **options)
    plain.train()
    tells = Tells()
    reporting = {"report_to": "dvclive", "run_name": "first", "callbacks": [tells]}
    trainer = make_trainer(output_dir=tmp_path / "out", **options, **reporting)
    tells.trainer = trainer
    folder = tmp_path / "out" / "dvclive"
    assert not folder.exists()
    trainer.train()
    assert are_equal(weights_of(plain), weights_of(trainer))

    assert read_metric(folder, "train/loss") == history(trainer, "loss")
    assert read_metric(folder, "eval/loss") == history(trainer, "eval_loss")
    assert [step for step, _ in read_metric(folder, "eval/loss")] == [2, 4]
    summary = read_summary(folder)
    assert summary["run"]["outcome"] == "finished"
    assert summary["train"]["loss"] == trainer.state.log_history[-2].get(
        "loss", summary["train"]["loss"]
    )
    assert summary["eval"]["sample"] == "once upon\ta time"
    assert summary["eval"]["picture"] == "grey"
    from PIL import Image as Pictures

    with Pictures.open(folder / "plots" / "images" / "eval" / "picture" / "2.png") as picture:
        assert np.array(picture).tolist() == np.full((2, 3, 3), 200).tolist()
    params = yaml.safe_load((folder / "params.yaml").read_text())
    assert params["learning_rate"] == 1e-2
    assert params["run_name"] == "first"
    assert params["num_parameters"] == sum(p.numel() for p in trainer.model.parameters())
    assert not list(tmp_path.rglob("dvc.yaml"))

    later = trainer.evaluate(make_samples(24)[20:])  # opens the same files again
    trainer.evaluate(metric_key_prefix="eval_again")
    for callback in trainer.callback_handler.callbacks:
        if isinstance(callback, ReporterCallback):
            callback.close("finished")
    assert read_metric(folder, "train/loss") == history(trainer, "loss")
    assert [step for step, _ in read_metric(folder, "eval/again_loss")] == [4]
    assert read_metric(folder, "eval/loss")[2:] == [(4, later["eval_loss"])]


def test_a_resumed_run_shows_no_step_twice_and_a_torn_line_not_at_all(tmp_path: Path) -> None:
    options: dict[str, Any] = {
        "output_dir": tmp_path,
        "max_steps": 5,
        "save_strategy": "steps",
        "save_steps": 2,
        "report_to": "dvclive",
    }
    broken = make_trainer(callbacks=[EndsAtStep(4, ArithmeticError("too odd"))], **options)
    with pytest.raises(ArithmeticError):
        broken.train()
    folder = tmp_path / "dvclive"
    assert read_summary(folder)["run"] == {"error": "ArithmeticError: too odd", "outcome": "failed"}
    assert [step for step, _ in read_metric(folder, "train/loss")] == [1, 2, 3]
    with (folder / "plots" / "metrics" / "train" / "loss.tsv").open("a") as file:
        file.write("4\t0.")

    resumed = make_trainer(**options)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert read_metric(folder, "train/loss") == history(resumed, "loss")
    assert [step for step, _ in read_metric(folder, "train/loss")] == [1, 2, 3, 4, 5]
    assert read_summary(folder)["run"] == {"outcome": "finished"}

    (folder / "metrics.json").write_text('{"train": {"lo')  # what a process leaves that is killed there
    again = make_trainer(**options)
    again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert [step for step, _ in read_metric(folder, "train/loss")] == [1, 2, 3, 4, 5]


def test_a_new_run_in_the_same_folder_begins_with_empty_files(tmp_path: Path) -> None:
    for num_steps in (3, 2):
        make_trainer(output_dir=tmp_path, max_steps=num_steps, report_to="dvclive").train()
    assert [step for step, _ in read_metric(tmp_path / "dvclive", "train/loss")] == [1, 2]


def test_what_is_no_number_text_or_image_is_left_out_with_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reporter = DVCLive(make_args(tmp_path, report_to="dvclive"))
    reporter.open(Run("a run", {"a": 1, "b": {"c": None}}, torch.nn.Linear(1, 1), 0))
    with caplog.at_level(logging.WARNING, "drivetrain"):
        for step in (1, 2):
            reporter.log({"eval/matrix": [[1, 0]], "../../eval/loss": torch.tensor(0.5)}, step)
    reporter.close("interrupted")
    assert [record.getMessage() for record in caplog.records] == [
        "DVCLive: 'eval/matrix' is left out, now and in what follows: a list is nothing that it takes."
    ]
    assert read_rows(tmp_path / "dvclive") == [
        {"step": 1, "eval/loss": 0.5},
        {"step": 2, "eval/loss": 0.5},
    ]
    assert read_summary(tmp_path / "dvclive")["run"] == {"outcome": "interrupted"}


def test_a_git_repository_is_not_made_one_of_dvc(own_folder: Path) -> None:
    subprocess.run(["git", "init", "-q"], check=True)
    make_trainer(output_dir="out", max_steps=1, report_to="dvclive").train()
    assert not Path(".dvc").exists()
    assert read_metric(Path("out/dvclive"), "train/loss")


@pytest.mark.filterwarnings("ignore:_NoneStep.value:DeprecationWarning")  # DVC's own, of pygtrie
def test_models_and_checkpoints_are_kept_by_dvc_and_shown_by_it(
    own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dvc.repo import Repo

    Repo.init(no_scm=True)
    kept = Path("out/dvclive/artifacts")
    for value in ("TRUE", "all"):
        monkeypatch.setenv("HF_DVCLIVE_LOG_MODEL", value)
        trainer = make_trainer(
            output_dir="out",
            max_steps=2,
            save_strategy="steps",
            save_steps=1,
            report_to="dvclive",
            reporter_args={"dvclive": {"dvcyaml": "dvc.yaml"}},
        )
        trainer.train()
    assert {path.name for path in kept.glob("*.dvc")} == {
        *("last.dvc", "checkpoint-1.dvc", "checkpoint-2.dvc")
    }
    (out,) = yaml.safe_load((kept / "last.dvc").read_text())["outs"]
    assert out["path"] == "last"
    assert len(out["hash"] + out["md5"]) > 30
    assert list((kept / "last").glob("*.safetensors"))
    described = yaml.safe_load(Path("dvc.yaml").read_text())
    assert described["artifacts"]["checkpoint-2"]["path"] == "out/dvclive/artifacts/checkpoint-2"
    with Repo() as repo:
        shown = repo.metrics.show()[""]["data"]
    assert shown["out/dvclive/metrics.json"]["data"]["step"] == 2


def test_an_experiment_is_saved_where_that_is_asked_for(own_folder: Path) -> None:
    from dvc.repo import Repo

    subprocess.run(["git", "init", "-q"], check=True)
    Repo.init()
    subprocess.run(["git", "add", "."], check=True)
    subprocess.run(["git", "commit", "-q", "-m", "first"], check=True)
    trainer = make_trainer(
        output_dir="out",
        max_steps=1,
        report_to="dvclive",
        run_name="spring",
        reporter_args={"dvclive": {"save_dvc_exp": True, "dvcyaml": "dvc.yaml"}},
    )
    trainer.train()
    with Repo() as repo:
        (saved,) = repo.experiments.ls().values()
    assert [name for name, _ in saved] == ["spring"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"report": "pdf"}, "'pdf' is no `report` of dvclive. Allowed: md, notebook, html."),
        ({"dvcyaml": "curves.yaml"}, "Type: dvcyaml=dvc.yaml"),
    ],
)
def test_options_that_dvclive_would_refuse_are_refused_first(options: dict[str, Any], said: str) -> None:
    args = make_args("out", report_to="none")
    (problem,) = DVCLive(args, DVCLiveOptions(**options)).problems()
    assert said in problem


def test_artefacts_without_a_repository_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_DVCLIVE_LOG_MODEL", "all")
    with pytest.raises(
        UsageError, match="HF_DVCLIVE_LOG_MODEL=all .* no DVC repository. Type: dvc init"
    ):
        make_trainer(report_to="dvclive")


def test_the_snippet_of_the_readme_runs(own_folder: Path) -> None:
    readme = Path(__file__).resolve().parents[3] / "contrib" / "dvclive" / "README.md"
    (snippet,) = re.findall(r"^```python\n(.*?)^```", readme.read_text(), flags=re.MULTILINE | re.DOTALL)
    exec(compile(snippet, str(readme), "exec"), {"__name__": "snippet"})
    assert list(Path("line").rglob("loss.tsv"))

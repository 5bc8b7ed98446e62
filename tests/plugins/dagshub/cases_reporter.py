"""What the reporter writes, read back as CSV and YAML; and what it uploads, at a server on this machine."""

from __future__ import annotations

import csv
import logging
import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import dagshub.common.config as dagshub_config
import pytest
import yaml
from servers import MisbehavingServer, Mode, Request
from small import are_equal, make_args, make_trainer, weights_of

from drivetrain import UsageError
from drivetrain.callbacks.reporting import ReporterCallback
from drivetrain.testing import ReporterSuite
from drivetrain.testing.recording import EndsAtStep
from drivetrain_dagshub.reporter import DagsHub

OUTSIDE = (
    *("HF_DAGSHUB_LOG_ARTIFACTS", "HF_DAGSHUB_MODEL_NAME", "BRANCH", "MLFLOW_TRACKING_URI"),
    *("DAGSHUB_USER_TOKEN", "DAGSHUB_USERNAME", "DAGSHUB_PASSWORD"),
)
PROXIES = [name for name in os.environ if name.lower().endswith("_proxy")]


@pytest.fixture(autouse=True)
def nothing_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in (*OUTSIDE, *PROXIES):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DAGSHUB_CLIENT_TOKENS_CACHE", str(tmp_path / "no-tokens"))


def read_rows(path: Path) -> list[dict[str, Any]]:
    with path.open(newline="") as file:
        return [
            {"step": int(row["Step"]), row["Name"]: float(row["Value"])} for row in csv.DictReader(file)
        ]


def read_metric(path: Path, name: str) -> list[tuple[int, float]]:
    return [(row["step"], row[name]) for row in read_rows(path) if name in row]


def history(trainer: Any, name: str) -> list[tuple[int, float]]:
    return [(entry["step"], entry[name]) for entry in trainer.state.log_history if name in entry]


class TestDagsHub(ReporterSuite):
    name = "dagshub"

    def read_back(self, folder: Path) -> list[dict[str, Any]]:
        return read_rows(folder / "metrics.csv")


def test_a_run_is_written_as_its_history_says_and_computes_what_it_computes_without(
    tmp_path: Path,
) -> None:
    options: dict[str, Any] = {"max_steps": 4, "eval_strategy": "steps", "eval_steps": 2}
    plain = make_trainer(output_dir=tmp_path / "plain", **options)
    plain.train()
    trainer = make_trainer(output_dir=tmp_path / "out", report_to="dagshub", run_name="first", **options)
    metrics, params = tmp_path / "out" / "metrics.csv", tmp_path / "out" / "params.yml"
    assert not metrics.exists()
    trainer.train()
    assert are_equal(weights_of(plain), weights_of(trainer))
    assert read_metric(metrics, "train/loss") == history(trainer, "loss")
    assert read_metric(metrics, "eval/loss") == history(trainer, "eval_loss")
    written = yaml.safe_load(params.read_text())
    assert written["learning_rate"] == 1e-2
    assert written["run_name"] == "first"
    assert written["num_parameters"] == sum(p.numel() for p in trainer.model.parameters())
    assert written["run/outcome"] == "finished"

    trainer.evaluate(metric_key_prefix="eval_again")  # opens the same files again
    for callback in trainer.callback_handler.callbacks:
        if isinstance(callback, ReporterCallback):
            callback.close("finished")
    assert read_metric(metrics, "train/loss") == history(trainer, "loss")
    assert [step for step, _ in read_metric(metrics, "eval/again_loss")] == [4]


def test_a_resumed_run_shows_no_step_twice_and_a_torn_line_not_at_all(tmp_path: Path) -> None:
    options: dict[str, Any] = {
        "output_dir": tmp_path,
        "max_steps": 5,
        "save_strategy": "steps",
        "save_steps": 2,
        "report_to": "dagshub",
    }
    broken = make_trainer(callbacks=[EndsAtStep(4, ArithmeticError("too odd"))], **options)
    with pytest.raises(ArithmeticError):
        broken.train()
    metrics, params = tmp_path / "metrics.csv", tmp_path / "params.yml"
    assert yaml.safe_load(params.read_text())["run/error"] == "ArithmeticError: too odd"
    assert yaml.safe_load(params.read_text())["run/outcome"] == "failed"
    assert [step for step, _ in read_metric(metrics, "train/loss")] == [1, 2, 3]
    before = [row for row in metrics.read_text().splitlines() if row.startswith('"train/loss"')][:2]
    with metrics.open("a") as file:
        file.write('"train/loss",0.5,17')

    resumed = make_trainer(**options)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert read_metric(metrics, "train/loss") == history(resumed, "loss")
    assert [step for step, _ in read_metric(metrics, "train/loss")] == [1, 2, 3, 4, 5]
    assert [row for row in metrics.read_text().splitlines() if row in before] == before
    written = yaml.safe_load(params.read_text())
    assert written["run/outcome"] == "finished"
    assert "run/error" not in written


def test_what_is_neither_a_number_nor_a_text_is_left_out_with_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trainer = make_trainer(output_dir=tmp_path, max_steps=1, report_to="dagshub")
    trainer.train()
    caplog.clear()
    with caplog.at_level(logging.WARNING, "drivetrain"):
        for _ in range(2):
            trainer.report({"eval/matrix": [[1, 0]], "eval/best": 0.5, "eval/sample": "once"})
        for callback in trainer.callback_handler.callbacks:
            if isinstance(callback, ReporterCallback):
                callback.close("finished")
    assert [record.getMessage() for record in caplog.records] == [
        "dagshub: 'eval/matrix' is left out, now and in what follows: a list is nothing that it takes."
    ]
    assert read_metric(tmp_path / "metrics.csv", "eval/best") == [(1, 0.5)] * 2
    assert yaml.safe_load((tmp_path / "params.yml").read_text())["eval/sample"] == "once"


def answer(request: Request) -> dict[str, Any]:
    """What DagsHub says of a repository, and of the last commit of its branch."""
    user = {"id": 1, "login": "me", "username": "me", "full_name": "", "avatar_url": ""}
    if "/branches/" in request.path:
        nobody = {"name": "", "email": "", "username": ""}
        commit = {"id": "c0ffee", "message": "", "url": "", "author": nobody, "committer": nobody}
        return {"name": "main", "commit": {**commit, "timestamp": ""}}
    texts = ("name", "full_name", "description", "html_url", "clone_url", "created_at", "updated_at")
    counts = ("id", "size", "stars_count", "forks_count", "watchers_count", "open_issues_count")
    flags = ("private", "fork", "empty", "mirror")
    return {
        **dict.fromkeys(texts, ""),
        **dict.fromkeys(counts, 0),
        **dict.fromkeys(flags, False),
        "owner": user,
        "default_branch": "main",
    }


def train_with_upload(folder: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> Any:
    """Train with a server in the place of DagsHub."""
    monkeypatch.setattr(dagshub_config, "host", dagshub_config.host)
    monkeypatch.setattr(dagshub_config, "hostname", dagshub_config.hostname)
    monkeypatch.setattr(dagshub_config, "parsed_host", dagshub_config.parsed_host)
    dagshub_config.set_host(url)
    monkeypatch.setenv("HF_DAGSHUB_LOG_ARTIFACTS", "1")
    monkeypatch.setenv("HF_DAGSHUB_MODEL_NAME", "tiny")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"{url}/me/lines.mlflow")
    monkeypatch.setenv("DAGSHUB_USER_TOKEN", "secret")
    trainer = make_trainer(output_dir=folder, max_steps=2, report_to="dagshub", reporter_timeout=3)
    trainer.train()
    return trainer


def test_the_model_is_uploaded_with_the_files_about_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server = MisbehavingServer("slow", answer=answer)
    with server as url:
        train_with_upload(tmp_path, monkeypatch, url)
    (put,) = [request for request in server.requests if request.method == "PUT"]
    assert unquote(put.path) == "/api/v1/repos/me/lines/content/main/artifacts/tiny"
    assert "secret" in {name.lower(): value for name, value in put.headers.items()}["authorization"]
    for name in ("model.safetensors", "metrics.csv", "params.yml"):
        assert f'filename="{name}"'.encode() in put.body
    assert b'"train/loss"' in put.body
    assert "ploading" not in capsys.readouterr().out


@pytest.mark.parametrize("mode", ["refuse", "hang", "500", "dies"])
def test_a_server_that_fails_costs_the_upload_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, mode: Mode
) -> None:
    plain = make_trainer(output_dir=tmp_path / "plain", max_steps=2)
    plain.train()
    with MisbehavingServer(mode, after=1, answer=answer) as url:
        trainer = train_with_upload(tmp_path / "out", monkeypatch, url)
        assert are_equal(weights_of(plain), weights_of(trainer))
        assert read_metric(tmp_path / "out" / "metrics.csv", "train/loss") == history(trainer, "loss")
    assert any("dagshub" in r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING)


def test_an_upload_to_nowhere_or_by_nobody_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_DAGSHUB_LOG_ARTIFACTS", "true")
    with pytest.raises(UsageError) as raised:
        make_trainer(report_to="dagshub")
    assert "'repository': 'owner/name'" in str(raised.value)
    assert "Set it, or type: dagshub login" in str(raised.value)
    monkeypatch.setenv("DAGSHUB_USER_TOKEN", "secret")
    make_trainer(report_to="dagshub", reporter_args={"dagshub": {"repository": "me/lines"}})


def test_it_says_that_mlflow_is_another_reporter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://dagshub.com/me/lines.mlflow")
    (warning,) = DagsHub(make_args("out", report_to="dagshub")).warnings()
    assert "Type: report_to=['dagshub', 'mlflow']" in warning


def test_the_snippet_of_the_readme_runs(own_folder: Path) -> None:
    readme = Path(__file__).resolve().parents[3] / "contrib" / "dagshub" / "README.md"
    (snippet,) = re.findall(r"^```python\n(.*?)^```", readme.read_text(), flags=re.MULTILINE | re.DOTALL)
    exec(compile(snippet, str(readme), "exec"), {"__name__": "snippet"})
    assert list(Path("line").rglob("metrics.csv"))

"""What the reporter sends, read back from the files of runs that are offline."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small import are_equal, make_net, make_trainer, weights_of
from torch import nn
from wandb_files import WandbRun, read_runs

from drivetrain import Image, Trainer, TrainerCallback, TrainingArguments
from drivetrain.plugin import Run
from drivetrain.testing import ReporterSuite
from drivetrain_wandb.options import WandBOptions
from drivetrain_wandb.reporter import WandB

pytestmark = pytest.mark.slow


class TestWandB(ReporterSuite):
    name = "wandb"

    def read_back(self, folder: Path) -> list[dict[str, Any]]:
        rows = [row for run in read_runs(folder) for row in run.rows]
        return [{"step": row["train/global_step"], **row} for row in rows]


class BurstsAtStep(TrainerCallback):
    """Raises after an update."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == self.step:
            raise ArithmeticError("it burst")


class Reports(TrainerCallback):
    """Reports a text and a picture at the second update."""

    trainer: Trainer

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == 2:
            pixels = np.full((4, 6, 3), 200, np.uint8)
            self.trainer.report({"samples/text": "it was", "samples/picture": Image(pixels, "grey")})


def train(folder: Path, **options: Any) -> Trainer:
    reports = Reports()
    arguments: dict[str, Any] = {
        "output_dir": str(folder / "out"),
        "report_to": "wandb",
        "eval_strategy": "steps",
        "eval_steps": 3,
        "save_strategy": "steps",
        "save_steps": 3,
        "project": "tests",
        "run_name": "a name",
    }
    trainer = make_trainer(**{"callbacks": [reports], **arguments, **options})
    reports.trainer = trainer
    return trainer


def logged(trainer: Trainer) -> list[tuple[int, str, float]]:
    return [
        (entry["step"], f"eval/{name[5:]}" if name.startswith("eval_") else f"train/{name}", value)
        for entry in trainer.state.log_history
        for name, value in entry.items()
        if name != "step"
    ]


def found(
    runs: list[WandbRun], prefixes: tuple[str, ...] = ("train/", "eval/")
) -> list[tuple[int, str, Any]]:
    return [
        (row["train/global_step"], name, value)
        for run in runs
        for row in run.rows
        for name, value in row.items()
        if name.startswith(prefixes) and name != "train/global_step"
    ]


def test_a_run_arrives_whole_and_goes_on_without_a_step_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """It fails after five updates of six, of which three are in a checkpoint, and is resumed from there."""
    monkeypatch.setenv("WANDB_TAGS", "one,two")
    options = {
        "wandb": {"watch": "gradients", "watch_steps": 2, "log_model": "checkpoint", "notes": "n"}
    }
    first = train(tmp_path, reporter_args=options)
    first.add_callback(BurstsAtStep(5))
    with pytest.raises(ArithmeticError):
        first.train()
    second = train(tmp_path, reporter_args=options)
    second.train(resume_from_checkpoint=True)
    alone = train(tmp_path, output_dir=str(tmp_path / "alone"), report_to="none")
    alone.train()
    assert are_equal(weights_of(second), weights_of(alone))

    runs = read_runs(tmp_path)
    assert [run.id for run in runs] == [runs[0].id] * 2
    assert (runs[0].name, runs[0].project, runs[0].tags) == ("a name", "tests", ["one", "two"])
    assert [run.exit_code for run in runs] == [1, 0]
    assert [run.summary["run/outcome"] for run in runs] == ["failed", "finished"]
    assert "it burst" in runs[0].rows[-1]["run/error"]

    losses = sorted((step, value) for step, name, value in found(runs) if name == "train/loss")
    expected = [(s, v) for s, name, v in logged(second) if name == "train/loss"]
    assert losses == expected
    for one in logged(second):
        if not one[1].endswith(("runtime", "per_second")):
            assert one in found(runs), one
    rows = [row["_step"] for run in runs for row in run.rows]
    assert rows == list(range(len(rows)))
    assert runs[0].step_metrics == {"train/global_step": "", "*": "train/global_step"}

    assert runs[0].config["learning_rate"] == 1e-2
    assert runs[0].config["model/num_parameters"] == sum(p.numel() for p in first.model.parameters())
    assert (2, "samples/text", "it was") in found(runs, ("samples/",))
    (picture,) = [row for run in runs for row in run.rows if "samples/picture/width" in row]
    size = [picture[f"samples/picture/{name}"] for name in ("width", "height", "caption")]
    assert size == [6, 4, "grey"]
    counts = [one for one in found(runs, ("gradients/",)) if one[1] == "gradients/outer.weight/values"]
    assert [step for step, _, _ in counts] == [2, 4, 6]
    assert sum(counts[0][2]) == 3 * 16

    kept = [(name, aliases) for run in runs for name, _, aliases, _ in run.artifacts]
    assert kept == [
        ("model-a-name", ["checkpoint_global_step_3", "epoch_0.5", "latest"]),
        ("model-a-name", ["checkpoint_global_step_6", "epoch_1.0", "latest"]),
        ("model-a-name", ["final_model", "latest"]),
    ]
    assert "model.safetensors" in runs[1].artifacts[-1][3]
    assert "wandb" not in capfd.readouterr().err


def test_an_evaluation_after_training_belongs_to_the_same_run(tmp_path: Path) -> None:
    trainer = train(tmp_path, max_steps=1, save_strategy="no", eval_strategy="no")
    trainer.train()
    metrics = trainer.evaluate()
    for callback in trainer.callback_handler.callbacks:
        if hasattr(callback, "reporter"):
            callback.close("finished")  # which would be when the process ends
    first, second = read_runs(tmp_path)
    assert first.id == second.id
    assert (1, "eval/loss", metrics["eval_loss"]) in found([second])


def losses_of(run: WandbRun) -> list[tuple[int, float]]:
    return [(step, value) for step, name, value in found([run]) if name == "train/loss"]


def test_a_run_from_scratch_under_the_id_of_an_earlier_one_is_reported_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("WANDB_RUN_ID", "chosen")
    options: dict[str, Any] = {"max_steps": 3, "eval_strategy": "no", "save_steps": 1}
    train(tmp_path, **options).train()
    again = train(tmp_path, learning_rate=1e-4, **options)
    again.train()
    with caplog.at_level(logging.INFO, "drivetrain"):
        resumed = train(tmp_path, learning_rate=1e-4, **options)
        resumed.train(resume_from_checkpoint=str(tmp_path / "out" / "checkpoint-1"))
    _, second, third = read_runs(tmp_path)
    expected = [(step, value) for step, name, value in logged(again) if name == "train/loss"]
    assert losses_of(second) == expected
    assert losses_of(third) == []
    assert [record.getMessage() for record in caplog.records if "are there" in record.getMessage()] == [
        "wandb: the steps 2 to 3 are there already, from before this run was resumed at step 1. They stay as "
        "they are, and are not sent again."
    ]


def test_a_journal_that_cannot_be_written_costs_no_row(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "out" / "wandb-fixed.json" / "in the way").mkdir(parents=True)
    trainer = train(
        tmp_path, eval_strategy="no", save_strategy="no", reporter_args={"wandb": {"id": "fixed"}}
    )
    trainer.train()
    (run,) = read_runs(tmp_path)
    assert losses_of(run) == [(s, value) for s, name, value in logged(trainer) if name == "train/loss"]
    (warning,) = [r.getMessage() for r in caplog.records if r.name == "drivetrain_wandb.journal"]
    assert "wandb-fixed.json cannot be written, so steps may be reported twice" in warning


def test_a_run_that_the_script_began_is_used_and_left_running(tmp_path: Path) -> None:
    import wandb

    mine = wandb.init(
        project="mine",
        name="my own",
        dir=tmp_path,
        mode="offline",
        settings=wandb.Settings(silent=True, console="off"),
    )
    trainer = train(tmp_path, max_steps=2, save_strategy="no", eval_strategy="no", callbacks=[])
    trainer.train()
    assert wandb.run is mine
    mine.log({"mine": 1.0})
    mine.finish()
    (run,) = read_runs(tmp_path)
    assert (run.id, run.name) == (mine.id, "my own")
    assert run.config["learning_rate"] == 1e-2
    assert {(1, "train/loss"), (2, "train/loss")} <= {(step, name) for step, name, _ in found([run])}
    assert run.rows[-1]["mine"] == 1.0


def make_reporter(tmp_path: Path, **options: Any) -> WandB:
    args = TrainingArguments(str(tmp_path / "out"), report_to="none")
    return WandB(args, WandBOptions(**options))


def test_options_come_before_the_environment_and_that_before_arguments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_NAME", "from the environment")
    monkeypatch.setenv("WANDB_PROJECT", "environments")
    args = TrainingArguments(str(tmp_path / "out"), report_to="none", project="argument")
    reporter = WandB(args, WandBOptions(project="typed", id="chosen", dir=str(tmp_path / "other")))
    reporter.open(Run("argument", {}, nn.Linear(1, 1), 0))
    reporter.log({"train/loss": 1.0}, 1)
    reporter.close("interrupted")
    (run,) = read_runs(tmp_path / "other")
    assert (run.id, run.name, run.project) == ("chosen", "from the environment", "typed")
    assert run.exit_code == 255
    assert reporter.state() == {"id": "chosen"}


@pytest.mark.parametrize(
    ("variables", "text"),
    [
        (
            {"WANDB_LOG_MODEL": "true"},
            "WANDB_LOG_MODEL='true', which is none of 'false', 'end', 'checkpoint'",
        ),
        ({"WANDB_WATCH": "everything"}, "WANDB_WATCH='everything'"),
        ({"WANDB_MODE": "of line"}, "WANDB_MODE='of line'"),
        ({"WANDB_RESUME": "maybe"}, "WANDB_RESUME='maybe'"),
        ({"WANDB_DISABLED": "true"}, "report_to='none'"),
        ({"WANDB_MODE": "online"}, "Type `wandb login`, or WANDB_MODE=offline"),
        ({"WANDB_MODE": "online", "WANDB_API_KEY": "short"}, "an API key of 5 characters"),
    ],
)
def test_a_problem_says_what_to_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], text: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    (problem,) = make_reporter(tmp_path).problems()
    assert text in problem


def test_a_wrong_option_is_mended_as_an_option_and_a_variable_as_a_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (problem,) = make_reporter(tmp_path, mode="x").problems()
    assert problem.startswith("`reporter_args`: mode='x', which is none of 'online', 'offline', ")
    assert problem.endswith(""" Type reporter_args={"wandb": {"mode": "online"}}, say.""")
    monkeypatch.setenv("WANDB_MODE", "x")
    (problem,) = make_reporter(tmp_path).problems()
    assert problem.endswith(" Type WANDB_MODE=online, say.")


@pytest.mark.parametrize("where", ["environment", "netrc", "settings"])
def test_a_login_is_found_where_wandb_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    key = "0123456789" * 4
    monkeypatch.setenv("WANDB_MODE", "online")
    assert list(make_reporter(tmp_path).problems())
    if where == "environment":
        monkeypatch.setenv("WANDB_API_KEY", key)
    elif where == "netrc":
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
        (tmp_path / "netrc").write_text(f"machine api.wandb.ai\n  login user\n  password {key}\n")
    else:
        monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path))
        (tmp_path / "settings").write_text(f"[default]\napi_key = {key}\n")
    assert not list(make_reporter(tmp_path).problems())


def test_what_is_no_value_is_left_out_with_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reporter = make_reporter(tmp_path)
    reporter.open(Run("a run", {}, make_net(), 0))
    with caplog.at_level(logging.WARNING, "drivetrain"):
        reporter.log({"eval/matrix": [[1]], "eval/loss": float("nan")}, 1)
        reporter.log({"eval/matrix": [[1]]}, 2)
    reporter.close("finished")
    assert [r.getMessage() for r in caplog.records if r.name.startswith("drivetrain")] == [
        "WandB: 'eval/matrix' is left out, now and in what follows: a list is nothing that it takes."
    ]
    ((step, name, _),) = found(read_runs(tmp_path))
    assert (step, name) == (1, "eval/loss")

"""What a run leaves in swanlab's own files, read with its own reader."""

from __future__ import annotations

import logging
import os
import random
import re
import signal
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from tests.support.small import are_equal, make_samples, make_trainer, weights_of

from drivetrain import TrainerCallback, TrainingArguments
from drivetrain.parts import load_reporter
from drivetrain.plugin import Image, Outcome, Run
from drivetrain.testing import ReporterSuite
from drivetrain_swanlab import library
from drivetrain_swanlab.past import read_records

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parents[3]
README = REPOSITORY / "contrib" / "swanlab" / "README.md"


@pytest.fixture(autouse=True)
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No configuration but this: files below the test's folder."""
    for name in os.environ:
        if name.upper().startswith("SWANLAB_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SWANLAB_MODE", "offline")
    monkeypatch.setenv("SWANLAB_LOG_DIR", str(tmp_path / "swanlog"))


def records(folder: Path) -> list[Any]:
    """All that swanlab wrote below a folder, the runs in their order."""
    return [record for file in sorted(folder.rglob("*.swanlab")) for record in read_records(file)]


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    found: dict[str, list[tuple[int, float]]] = {}
    for record in records(folder):
        if record.WhichOneof("record_type") == "scalar":
            scalar = record.scalar
            found.setdefault(scalar.key, []).append((scalar.step, scalar.value.number))
    return found


def media(folder: Path) -> dict[str, list[tuple[int, Path, str]]]:
    """Step, file and caption of what is no number."""
    found: dict[str, list[tuple[int, Path, str]]] = {}
    for record in records(folder):
        if record.WhichOneof("record_type") == "media":
            for item in record.media.value.items:
                (file,) = folder.rglob(f"media/*/{item.filename}")
                found.setdefault(record.media.key, []).append((record.media.step, file, item.caption))
    return found


def one(folder: Path, kind: str) -> Any:
    """The only record of a kind."""
    (found,) = (record for record in records(folder) if record.WhichOneof("record_type") == kind)
    return getattr(found, kind)


class TestSwanLab(ReporterSuite):
    name = "swanlab"
    options = {"mode": "offline"}

    def read_back(self, folder: Path) -> list[dict[str, Any]]:
        return [
            {"step": step, key: value}
            for key, points in scalars(folder).items()
            for step, value in points
        ]


class EndsAtStep(TrainerCallback):
    def __init__(self, step: int, error: BaseException) -> None:
        self.step, self.error = step, error

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == self.step:
            raise self.error


class Draws(TrainerCallback):
    """Draws from the generators that a library may draw from."""

    def __init__(self) -> None:
        self.drawn: list[float] = []

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.drawn += [random.random(), float(np.random.rand())]


def report(
    folder: Path, values: dict[int, dict[str, Any]], outcome: Outcome = "finished", **arguments: Any
) -> Any:
    """Do what core does with the reporter in a run."""
    args = TrainingArguments(str(folder), report_to="swanlab", use_cpu=True, **arguments)
    reporter = load_reporter(args, "swanlab")
    process = state_of_process()
    reporter.prepare()
    reporter.open(Run("a run", args.to_dict(), None, 0))  # type: ignore[arg-type]
    assert state_of_process() == process
    for step, given in values.items():
        reporter.log(given, step)
    reporter.close(outcome)
    assert state_of_process() == process
    return reporter


def state_of_process() -> tuple[Any, ...]:
    """What swanlab takes over where it is let."""
    return sys.excepthook, sys.stdout, sys.stderr, signal.getsignal(signal.SIGINT), dict(os.environ)


def test_a_run_leaves_what_it_logged_and_trains_as_without(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWANLAB_PROJECT", "published-name")
    process = state_of_process()
    runs = {}
    for name in ("none", "swanlab"):
        draws = Draws()
        random.seed(5)
        np.random.seed(5)
        trainer = make_trainer(
            output_dir=tmp_path / name,
            report_to=name,
            project="of the arguments",
            run_name="the run",
            max_steps=4,
            callbacks=[draws],
        )
        assert not (tmp_path / "swanlog").exists()
        trainer.train()
        runs[name] = weights_of(trainer), draws.drawn
    assert are_equal(runs["none"][0], runs["swanlab"][0])
    assert runs["none"][1] == runs["swanlab"][1]
    assert state_of_process() == process

    folder = tmp_path / "swanlog"
    found = scalars(folder)
    for entry in trainer.state.log_history:
        for key in ("loss", "learning_rate", "grad_norm", "train_loss"):
            if key in entry:
                assert (entry["step"], pytest.approx(entry[key])) in found[f"train/{key}"]
    assert [step for step, _ in found["train/loss"]] == [1, 2, 3, 4]
    start = one(folder, "start")
    assert (start.project, start.name) == ("published-name", "the run")
    assert one(folder, "finish").state == 1  # RUN_STATE_FINISHED
    (config,) = folder.rglob("files/config.yaml")
    assert "learning_rate" in config.read_text()
    assert "num_trainable_parameters" in config.read_text()
    (metadata,) = folder.rglob("swanlab-metadata.json")
    assert "hostname" not in metadata.read_text()
    written = capfd.readouterr()
    assert "swanlab" not in (written.out + written.err).lower()


def test_a_run_that_fails_has_crashed_and_says_of_what(tmp_path: Path) -> None:
    trainer = make_trainer(
        output_dir=tmp_path,
        report_to="swanlab",
        callbacks=[EndsAtStep(2, ArithmeticError("on purpose"))],
    )
    with pytest.raises(ArithmeticError):
        trainer.train()
    finish = one(tmp_path / "swanlog", "finish")
    assert finish.state == 2  # RUN_STATE_CRASHED
    assert finish.error == "ArithmeticError: on purpose"
    ((_, file, _),) = media(tmp_path / "swanlog")["run/error"]
    assert file.read_text() == "ArithmeticError: on purpose"


def test_texts_and_pictures_arrive_and_what_is_neither_is_warned_of_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    picture = Image(np.full((4, 6, 3), 200, dtype=np.uint8), "grey")
    first = {
        "eval/text": "une époque",
        "eval/picture": picture,
        "eval/list": [1],
        "eval/nan": float("nan"),
    }
    report(tmp_path, {3: {**first, "eval/loss": 0.5}, 4: {"eval/list": [2]}}, "interrupted")
    found = media(tmp_path / "swanlog")
    ((step, file, _),) = found["eval/text"]
    assert (step, file.read_text(encoding="utf-8")) == (3, "une époque")
    ((step, file, caption),) = found["eval/picture"]
    assert (step, caption, file.read_bytes()[:4]) == (3, "grey", b"\x89PNG")
    assert scalars(tmp_path / "swanlog")["eval/loss"] == [(3, 0.5)]
    assert [r.getMessage() for r in caplog.records if "eval/list" in r.getMessage()] == [
        "swanlab: 'eval/list' is left out, now and in what follows: a list is nothing that it takes."
    ]
    assert one(tmp_path / "swanlog", "finish").state == 3  # RUN_STATE_ABORTED


def test_a_resumed_run_goes_on_with_its_id_and_no_step_twice(tmp_path: Path) -> None:
    common: dict[str, Any] = {
        "output_dir": tmp_path / "out",
        "report_to": "swanlab",
        "save_strategy": "steps",
        "save_steps": 2,
        "max_steps": 6,
    }
    first = make_trainer(callbacks=[EndsAtStep(5, KeyboardInterrupt())], **common)
    with pytest.raises(KeyboardInterrupt):
        first.train()
    second = make_trainer(**common)
    second.train(resume_from_checkpoint=str(tmp_path / "out" / "checkpoint-2"))
    folder = tmp_path / "swanlog"
    starts = [
        record.start.id for record in records(folder) if record.WhichOneof("record_type") == "start"
    ]
    assert len(starts) == 2
    assert len(set(starts)) == 1
    assert [step for step, _ in scalars(folder)["train/loss"]] == [1, 2, 3, 4, 5, 6]


def close_all(trainer: Any) -> None:
    """What would be done when the process ends."""
    for callback in trainer.callback_handler.callbacks:
        if hasattr(callback, "reporter"):
            callback.close("finished")


def test_nothing_is_left_out_of_a_later_evaluation_or_a_run_from_scratch_under_the_same_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SWANLAB_RUN_ID", "chosen")
    common: dict[str, Any] = {
        "output_dir": tmp_path / "out",
        "report_to": "swanlab",
        "eval_strategy": "steps",
        "eval_steps": 2,
        "max_steps": 2,
        "save_strategy": "steps",
        "save_steps": 1,
    }
    trainer = make_trainer(**common)
    trainer.train()
    later = trainer.evaluate(make_samples(24)[20:])
    close_all(trainer)
    folder = tmp_path / "swanlog"
    evaluated = scalars(folder)["eval/loss"]
    assert [step for step, _ in evaluated] == [2, 2]
    assert evaluated[1][1] == pytest.approx(later["eval_loss"])
    make_trainer(learning_rate=1e-4, **common).train()
    assert [step for step, _ in scalars(folder)["train/loss"]] == [1, 2, 1, 2]
    with caplog.at_level(logging.INFO, "drivetrain"):
        make_trainer(**common).train(resume_from_checkpoint=str(tmp_path / "out" / "checkpoint-1"))
    assert len(scalars(folder)["train/loss"]) == 4
    assert "swanlab: the steps 2 to 2 are there already" in caplog.text


def test_options_go_before_the_environment_and_that_before_the_arguments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWANLAB_TAGS", "of,environment")
    monkeypatch.setenv("SWANLAB_GROUP", "of environment")
    monkeypatch.setenv("SWANLAB_EXP_NAME", "named outside")
    options = {"tags": ["mine"], "notes": "a note", "job_type": "probe", "workspace": "me"}
    report(
        tmp_path,
        {},
        run_name="named inside",
        project="a-project",
        reporter_args={"swanlab": {**options, "log_dir": str(tmp_path / "logs")}},
    )
    start = one(tmp_path / "logs", "start")
    assert (list(start.tags), start.group, start.name) == (["mine"], "of environment", "named outside")
    assert (start.description, start.job_type) == ("a note", "probe")
    assert (start.workspace, start.project) == ("me", "a-project")


def test_files_go_into_a_logging_dir_that_was_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SWANLAB_LOG_DIR")
    report(tmp_path, {}, logging_dir=str(tmp_path / "mine"))
    assert one(tmp_path / "mine", "start")


def test_a_run_that_the_user_began_is_used_and_left_open(tmp_path: Path) -> None:
    swanlab = library.load()
    library.set_quiet(True)
    quiet = swanlab.Settings.Probe(monitor=False, requirements=False, git=False, hardware=False)
    terminal = swanlab.Settings.Terminal(proxy_type="none")
    mine = swanlab.init(
        mode="offline", name="mine", settings=swanlab.Settings(terminal=terminal, probe=quiet)
    )
    try:
        reporter = report(tmp_path, {1: {"train/loss": 0.5}})
        assert mine.alive
        assert reporter.state() == {"id": mine.id}
    finally:
        mine.finish()
        library.set_quiet(False)
    assert one(tmp_path / "swanlog", "start").name == "mine"
    assert scalars(tmp_path / "swanlog")["train/loss"] == [(1, 0.5)]


def test_local_mode_leaves_files_for_the_dashboard_and_the_environment_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "swanboard", ModuleType("swanboard"))
    logging.disable(logging.WARNING)  # that this dashboard has no database
    try:
        report(
            tmp_path,
            {1: {"train/loss": 0.5}},
            reporter_args={"swanlab": {"mode": "local", "log_dir": str(tmp_path / "local")}},
        )
    finally:
        logging.disable(logging.NOTSET)
    (line,) = (tmp_path / "local").rglob("logs/*/1000.log")
    assert '"index": 1, "data": 0.5' in line.read_text()


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"SWANLAB_MODE": "cloud"}, "no key for its service. Type `swanlab login`"),
        (
            {"SWANLAB_MODE": "nowhere"},
            "told SWANLAB_MODE='nowhere', which is none of 'online', 'cloud', 'offline', 'local', "
            "'disabled'. Type SWANLAB_MODE=offline, say.",
        ),
        ({"SWANLAB_MODE": "local"}, "needs swanboard for the mode 'local'. Type: pip install "),
        ({"SWANLAB_INTERACTIVE": "perhaps"}, "refuses its own configuration"),
    ],
)
def test_what_cannot_work_is_refused_and_passed_over_where_nobody_named_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], said: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=re.escape(said)):
        TrainingArguments(str(tmp_path), report_to="swanlab", use_cpu=True)
    trainer = make_trainer(output_dir=tmp_path, report_to="all", max_steps=1)
    names = [c.reporter.name for c in trainer.callback_handler.callbacks if hasattr(c, "reporter")]
    assert names
    assert "swanlab" not in names


def test_a_name_that_is_none_for_a_project_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match="`project`: 'my project' is no name for a project of 'swanlab'"
    ):
        TrainingArguments(str(tmp_path), report_to="swanlab", use_cpu=True, project="my project")


def test_a_model_that_it_does_not_keep_is_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SWANLAB_LOG_MODEL", "true")
    TrainingArguments(str(tmp_path), report_to="swanlab", use_cpu=True)
    assert "`SWANLAB_LOG_MODEL` has no effect" in caplog.text


def test_the_readme_runs() -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```", README.read_text(), flags=re.MULTILINE | re.DOTALL)
    exec(compile(code, str(README), "exec"), {"__name__": "readme"})
    assert scalars(Path("swanlog"))["train/loss"]

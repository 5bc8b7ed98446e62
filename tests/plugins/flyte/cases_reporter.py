"""What a Flyte task shows and keeps of a training in it, read from its deck and its checkpoints."""

from __future__ import annotations

import gc
import logging
import re
import runpy
import signal
import warnings
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import flytekit
import numpy as np
import pytest
import torch
from flytekit.core.context_manager import ExecutionState, FlyteContextManager
from flytekit.deck.deck import _get_deck
from small import are_equal, make_args, make_trainer, weights_of

from drivetrain import TrainerCallback, UsageError
from drivetrain.plugin import Image, Run
from drivetrain.testing import ReporterSuite
from drivetrain.testing.recording import EndsAtStep
from drivetrain_flyte.reporter import Flyte

seen: dict[str, Any] = {}
"""What a task leaves for the test that began it."""


class Tables(HTMLParser):
    """Reads the tables with a column ``step``."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[dict[str, str]] = []
        self._columns: list[str] = []
        self._cells: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag == "tr":
            self._cells = []
        elif tag in ("td", "th"):
            self._cells.append("")

    def handle_data(self, data: str) -> None:
        if self._cells:
            self._cells[-1] += data.rstrip("\n")  # what is between two lines

    def handle_endtag(self, tag: str) -> None:
        if tag == "tr" and self._cells[:1] == ["step"]:
            self._columns = self._cells
        elif tag == "tr" and len(self._cells) == len(self._columns):
            self.rows.append(dict(zip(self._columns, self._cells, strict=True)))


def read_rows(html: str) -> list[dict[str, Any]]:
    """The rows of a deck, without cells that are empty or texts."""
    tables = Tables()
    tables.feed(html)
    found = []
    for row in tables.rows:
        numbers = {
            name: cell for name, cell in row.items() if re.fullmatch(r"-?[\d.]+(e[-+]?\d+)?", cell)
        }
        found.append({name: float(cell) for name, cell in numbers.items()})
    return found


def read_metric(html: str, name: str) -> list[tuple[int, float]]:
    return [(row["step"], row[name]) for row in read_rows(html) if name in row]


def history(trainer: Any, name: str) -> list[tuple[int, float]]:
    return [(entry["step"], entry[name]) for entry in trainer.state.log_history if name in entry]


@pytest.fixture(scope="module", autouse=True)
def what_is_imported_is_no_garbage() -> Iterator[None]:
    """It is half a second's work to look through, and the collector is called after each test."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def flytes_folders_are_removed_within_the_test() -> Iterator[None]:
    """Flyte leaves temporary folders to the garbage collector, which Python warns of."""
    yield
    seen.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()


@pytest.fixture
def in_a_task(tmp_path: Path) -> Iterator[Any]:
    """Be in a task, as Flyte has one be that it executes here; gives its parameters."""
    context = FlyteContextManager.current_context()
    parameters = context.user_space_params.with_task_sandbox()
    parameters.decks = []
    state = context.execution_state.with_params(
        mode=ExecutionState.Mode.LOCAL_TASK_EXECUTION,
        user_space_params=parameters.build().with_enable_deck(True).build(),
    )
    with FlyteContextManager.with_context(context.with_execution_state(state)):
        yield state.user_space_params


class TestFlyte(ReporterSuite):
    name = "flyte"

    @pytest.fixture(autouse=True)
    def task(self, in_a_task: Any) -> None:
        self.parameters = in_a_task

    def read_back(self, folder: Path) -> list[dict[str, Any]]:
        return read_rows(_get_deck(self.parameters, ignore_jupyter=True))


class Tells(TrainerCallback):
    """Reports a text and a picture after the second update."""

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == 2:
            picture = Image(np.full((2, 3, 3), 200, np.uint8), "grey & blue")
            self.trainer.report({"eval/sample": "<b>once</b>", "eval/picture": picture})


@flytekit.task(enable_deck=True)
def train_in_a_task(folder: str, ends_at: int) -> int:
    """Train, as a user's task would, and keep for the test what it sees."""
    tells = Tells()
    callbacks: list[TrainerCallback] = [tells]
    if ends_at:
        callbacks.append(EndsAtStep(ends_at, ArithmeticError("too odd")))
    options: dict[str, Any] = {"save_strategy": "steps", "save_steps": 2, "eval_strategy": "steps"}
    trainer = make_trainer(
        output_dir=folder, max_steps=4, eval_steps=2, report_to="flyte", callbacks=callbacks, **options
    )
    tells.trainer = trainer
    seen["parameters"] = flytekit.current_context()
    seen["trainer"] = trainer
    trainer.train()
    return int(trainer.state.global_step)


def test_a_task_shows_what_its_training_logged_and_keeps_the_checkpoint(tmp_path: Path) -> None:
    handler = signal.getsignal(signal.SIGINT)
    plain = make_trainer(output_dir=tmp_path / "plain", max_steps=4, eval_strategy="steps", eval_steps=2)
    plain.train()
    sandbox = Path(FlyteContextManager.current_context().file_access.local_sandbox_dir)
    before = set(sandbox.rglob("deck.html"))
    assert train_in_a_task(folder=str(tmp_path / "out"), ends_at=0) == 4
    (file,) = set(sandbox.rglob("deck.html")) - before
    html = file.read_text()
    trainer = seen["trainer"]
    assert are_equal(weights_of(plain), weights_of(trainer))
    assert signal.getsignal(signal.SIGINT) is handler

    assert ">Log History<" in html
    assert read_metric(html, "train/loss") == history(trainer, "loss")
    assert read_metric(html, "eval/loss") == history(trainer, "eval_loss")
    assert [step for step, _ in read_metric(html, "eval/loss")] == [2, 4]
    assert f"<h3>{tmp_path / 'out'}: finished</h3>" in html
    assert "<td>&lt;b&gt;once&lt;/b&gt;</td>" in html
    assert "grey &amp; blue" in html
    assert "data:image/png;base64," in html
    assert "&quot;learning_rate&quot;: 0.01" in html

    kept = Path(seen["parameters"].checkpoint._checkpoint_dest)
    assert (kept / "manifest.json").is_file()
    resumed = make_trainer(
        output_dir=tmp_path / "again", max_steps=4, eval_strategy="steps", eval_steps=2
    )
    resumed.train(resume_from_checkpoint=str(kept))
    assert resumed.state.global_step == 4
    assert are_equal(weights_of(plain), weights_of(resumed))


def test_a_task_that_fails_has_collected_what_was_logged_until_then(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="too odd"):
        train_in_a_task(folder=str(tmp_path / "out"), ends_at=3)
    html = _get_deck(seen["parameters"], ignore_jupyter=True)
    assert [step for step, _ in read_metric(html, "train/loss")] == [1, 2]
    assert "out: failed</h3>" in html
    assert "<td>ArithmeticError: too odd</td>" in html


def test_each_training_in_a_task_has_a_deck_and_an_evaluation_after_it_has_none(
    tmp_path: Path, in_a_task: Any
) -> None:
    for _ in range(2):
        trainer = make_trainer(output_dir=tmp_path, max_steps=1, report_to="flyte")
        trainer.train()
    trainer.evaluate()
    names = [deck.name for deck in in_a_task.decks]
    assert names == ["Log History", "Log History 2"]


def test_options_switch_either_off(tmp_path: Path, in_a_task: Any) -> None:
    trainer = make_trainer(
        output_dir=tmp_path,
        max_steps=1,
        save_strategy="steps",
        save_steps=1,
        report_to="flyte",
        reporter_args={"flyte": {"save_log_history": False, "sync_checkpoints": False}},
    )
    trainer.train()
    assert in_a_task.decks == []
    assert list(Path(in_a_task.checkpoint._checkpoint_dest).iterdir()) == []


def test_what_is_no_number_text_or_image_is_left_out_with_one_warning(
    tmp_path: Path, in_a_task: Any, caplog: pytest.LogCaptureFixture
) -> None:
    reporter = Flyte(make_args(tmp_path, report_to="flyte"))
    reporter.open(Run("a run", {}, torch.nn.Linear(1, 1), 0))
    caplog.clear()
    with caplog.at_level(logging.WARNING, "drivetrain"):
        for step in (1, 2):
            reporter.log({"eval/matrix": [[1, 0]], "eval/loss": 0.5}, step)
    assert [record.getMessage() for record in caplog.records] == [
        "Flyte: 'eval/matrix' is left out, now and in what follows: a list is nothing that it takes."
    ]
    assert read_metric(in_a_task.decks[0].html, "eval/loss") == [(1, 0.5), (2, 0.5)]


def test_outside_of_a_task_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"Make the arguments .* @flytekit.task\(enable_deck=True\)"):
        make_trainer(output_dir=tmp_path, report_to="flyte")


@flytekit.task
def ask_for_warnings() -> list[str]:
    return list(Flyte(make_args("out", report_to="none")).warnings())


def test_a_task_without_decks_is_told_so() -> None:
    (warning,) = ask_for_warnings()
    assert "shows nothing in this task, which has no decks" in warning


def test_the_snippet_of_the_readme_runs(own_folder: Path) -> None:
    readme = Path(__file__).resolve().parents[3] / "contrib" / "flyte" / "README.md"
    (snippet,) = re.findall(r"^```python\n(.*?)^```", readme.read_text(), flags=re.MULTILINE | re.DOTALL)
    Path("snippet.py").write_text(snippet)
    runpy.run_path("snippet.py", run_name="__main__")
    assert list(Path("line").rglob("manifest.json"))

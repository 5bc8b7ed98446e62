"""What a notebook shows of a run: in a kernel, without one, and with a frontend that is given."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import types
from html import escape, unescape
from pathlib import Path
from typing import Any

import pytest
from small import make_args, make_trainer

import drivetrain.callbacks.notebook_page as notebook_page
import drivetrain.callbacks.pace as pace
from drivetrain import NotebookProgressCallback, PrinterCallback, ProgressCallback, Trainer
from drivetrain.callbacks.surroundings import is_in_notebook, progress_callback_class

SUPPORT = Path(__file__).parents[2] / "support"

NOTEBOOK = [
    f"""
import json, sys
sys.path.insert(0, {str(SUPPORT)!r})
from small import make_trainer
from drivetrain import NotebookProgressCallback, ProgressCallback, TrainerCallback
from drivetrain.callbacks.surroundings import is_in_notebook
class Fail(TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == 4:
            raise RuntimeError("no more")
def trainer_with(*callbacks, **options):
    options = {{"eval_strategy": "steps", "eval_steps": 2, **options}}
    return make_trainer(callbacks=callbacks, disable_tqdm=False, **options)
print(is_in_notebook())
""",
    "trainer = trainer_with(); _ = trainer.train()",
    "print(json.dumps(trainer.state.log_history))",
    "_ = trainer.evaluate()",
    """
try:
    trainer_with(Fail()).train()
except RuntimeError as error:
    print(error)
""",
]


def execute(cells: list[str]) -> list[list[dict[str, Any]]]:
    """Run cells in an IPython kernel; return the outputs of each as the notebook has them at the end."""
    import nbclient
    import nbformat

    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    nbclient.NotebookClient(notebook, timeout=120).execute()
    return [cell.outputs for cell in notebook.cells]


def rows_in(html: str) -> list[list[str]]:
    rows = re.findall("<tr>(.*?)</tr>", html)
    return [[unescape(cell) for cell in re.findall("<t[hd]>(.*?)</t[hd]>", row)] for row in rows]


def expected_rows(history: list[dict[str, Any]]) -> list[list[str]]:
    """The losses of the history, a row for each step, by step."""
    steps = sorted({entry["step"] for entry in history})
    values = {(entry["step"], name): value for entry in history for name, value in entry.items()}
    cells = [
        [f"{values[step, name]:.6g}" if (step, name) in values else "" for name in ("loss", "eval_loss")]
        for step in steps
    ]
    return [[str(step), *row] for step, row in zip(steps, cells, strict=True)]


@pytest.mark.slow
def test_a_kernel_shows_bars_and_the_history_as_a_table(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    first, train, history, evaluate, failed = execute(NOTEBOOK)
    assert first[0]["text"] == "True\n"
    (page,) = train
    assert "train 6/6" in page["data"]["text/html"]
    heading, *rows = rows_in(page["data"]["text/html"])
    assert heading == ["Step", "Training loss", "Validation loss"]
    assert rows == expected_rows(json.loads(history[0]["text"]))
    opening, where, bar, _, *table, closing = page["data"]["text/plain"].splitlines()
    assert opening == "Training Net (195 parameters): 1 epoch of 24 samples, 6 updates of 4 samples."
    assert where == "On cpu, float32; reporting to nothing; output in out."
    assert bar.startswith("train 6/6, 0:0")
    assert [line.split() for line in table] == [[cell for cell in row if cell] for row in rows]
    assert closing.startswith("Finished: 6 updates in 0:0")
    assert all(escape(line) in page["data"]["text/html"] for line in (opening, where, bar, closing))
    (page,) = evaluate
    assert "evaluate 2/2" in page["data"]["text/html"]
    assert "<table" not in page["data"]["text/html"]
    page, message = failed
    assert "train 3/6" in page["data"]["text/html"]
    assert ", failed" in page["data"]["text/html"]
    assert "Failed by RuntimeError (no more): 4 of 6 updates" in page["data"]["text/html"]
    assert len(rows_in(page["data"]["text/html"])) == 4
    assert message["text"] == "no more\n"


@pytest.mark.slow
def test_ipython_in_a_terminal_is_no_notebook(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    code = (
        "from drivetrain.callbacks.surroundings import is_in_notebook; "
        "print(get_ipython(), is_in_notebook())"
    )
    command = [sys.executable, "-m", "IPython", "--no-banner", "--colors=NoColor", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "InteractiveShell" in done.stdout
    assert "False" in done.stdout


class Frontend:
    """Stands for IPython in a kernel: keeps each state of what is displayed."""

    def __init__(self) -> None:
        self.shown: list[dict[str, str]] = []
        self.num_outputs = 0

    def display(self, data: dict[str, str], raw: bool, display_id: bool) -> Frontend:
        assert raw
        assert display_id
        self.num_outputs += 1
        self.shown.append(data)
        return self

    def update(self, data: dict[str, str], raw: bool) -> None:
        assert raw
        self.shown.append(data)

    @property
    def html(self) -> str:
        return self.shown[-1]["text/html"]


@pytest.fixture
def frontend(monkeypatch: pytest.MonkeyPatch) -> Frontend:
    """A frontend that shows every change, for the clock goes ten seconds with each look at it."""
    made = Frontend()
    shell = type("ColabShell", (type("ZMQInteractiveShell", (), {}),), {})()
    package: Any = types.ModuleType("IPython")
    package.get_ipython = lambda: shell
    module: Any = types.ModuleType("IPython.display")
    module.display = made.display
    monkeypatch.setitem(sys.modules, "IPython", package)
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    set_clock(monkeypatch, 10.0)
    return made


def set_clock(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Let the page's clock go on by so much whenever it is read."""
    now = [0.0]

    def monotonic() -> float:
        now[0] += seconds
        return now[0]

    monkeypatch.setattr(notebook_page, "time", types.SimpleNamespace(monotonic=monotonic))


def notebook_trainer(*callbacks: Any, cls: type[Trainer] = Trainer, **options: Any) -> Trainer:
    trainer = make_trainer(cls, callbacks=[*callbacks, NotebookProgressCallback()], **options)
    trainer.remove_callback(PrinterCallback)
    return trainer


def test_the_callback_is_chosen_by_where_the_run_is(frontend: Frontend) -> None:
    assert is_in_notebook()
    assert progress_callback_class(make_args(disable_tqdm=False)) is NotebookProgressCallback
    assert progress_callback_class(make_args(disable_tqdm=True)) is PrinterCallback


def test_outside_a_notebook_the_callback_is_that_of_the_terminal() -> None:
    assert not is_in_notebook()
    assert progress_callback_class(make_args(disable_tqdm=False)) is ProgressCallback


def test_outside_a_notebook_logs_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    trainer = notebook_trainer(max_steps=2, eval_strategy="steps", eval_steps=2)
    trainer.train()
    printed = capsys.readouterr().out
    assert printed.count("'loss'") == 2
    assert printed.count("'eval_loss'") == 1


def test_names_and_values_of_metrics_are_escaped(frontend: Frontend) -> None:
    name = "<script>alert('x')</script>"

    class Logs(Trainer):
        def log(self, logs: dict[str, Any], start_time: float | None = None) -> None:
            super().log({**logs, name: "<b>&"}, start_time)

    notebook_trainer(cls=Logs, max_steps=1).train()
    assert "<script>" not in frontend.html
    assert "<b>" not in frontend.html
    heading, row = rows_in(frontend.html)
    assert dict(zip(heading, row, strict=True))[name] == "<b>&"
    assert name in frontend.shown[-1]["text/plain"]


def test_a_run_by_epochs_has_epochs_in_the_first_column(frontend: Frontend) -> None:
    trainer = notebook_trainer(
        num_train_epochs=2,
        eval_strategy="epoch",
        logging_strategy="epoch",
        compute_metrics=lambda prediction: {"accuracy": 0.25},
    )
    trainer.train()
    heading, *rows = rows_in(frontend.html)
    assert heading == ["Epoch", "Training loss", "Validation loss", "eval_accuracy"]
    assert [(row[0], row[-1]) for row in rows] == [("1", "0.25"), ("2", "0.25")]


def test_an_evaluation_within_training_has_a_bar_below_until_it_ends(frontend: Frontend) -> None:
    notebook_trainer(max_steps=2, eval_strategy="steps", eval_steps=1).train()
    evaluating = [shown["text/html"] for shown in frontend.shown if "evaluate" in shown["text/html"]]
    assert len(evaluating) == 4  # two evaluations of two batches
    assert all(html.index("train ") < html.index("evaluate ") for html in evaluating)
    assert "evaluate" not in frontend.html
    assert frontend.num_outputs == 1


def test_evaluating_and_predicting_by_themselves_leave_a_full_bar_each(frontend: Frontend) -> None:
    trainer = notebook_trainer()
    trainer.evaluate()
    assert "evaluate 2/2" in frontend.html
    trainer.predict(trainer.train_dataset)
    assert "evaluate 3/3" in frontend.html
    assert frontend.num_outputs == 2


def test_an_evaluation_that_fails_leaves_its_bar_and_the_next_has_its_own(frontend: Frontend) -> None:
    class FailsOnce(Trainer):
        num_batches = 0

        def prediction_step(self, *args: Any, **kwargs: Any) -> Any:
            self.num_batches += 1
            if self.num_batches == 2:
                raise RuntimeError("no more")
            return super().prediction_step(*args, **kwargs)

    trainer = notebook_trainer(cls=FailsOnce)
    with pytest.raises(RuntimeError, match="no more"):
        trainer.evaluate()
    assert "evaluate 1/2" in frontend.html
    trainer.evaluate()
    assert "evaluate 2/2" in frontend.html
    assert frontend.num_outputs == 2


def test_a_page_is_shown_a_few_times_a_second_however_fast_the_updates_are(
    frontend: Frontend, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_clock(monkeypatch, 0.0)
    notebook_trainer(max_steps=6).train()
    assert len(frontend.shown) == 2  # when it is opened, and as it is at last
    assert "train 6/6" in frontend.html


def test_the_bar_says_how_fast_it_goes_and_what_is_left(frontend: Frontend, monkeypatch: Any) -> None:
    clock = types.SimpleNamespace(monotonic=iter(range(0, 10**6, 5)).__next__)
    monkeypatch.setattr(pace, "time", clock)  # five seconds with each look at it
    notebook_trainer(max_steps=4, learning_rate=1e-2).train()
    bars = [shown["text/plain"].splitlines()[2] for shown in frontend.shown]
    assert bars[0] == "train 0/4"
    assert any(bar.endswith(", epoch 0.50, lr 0.005, 0.8 samples/s, 0:05 left") for bar in bars)
    assert bars[-1].endswith(", epoch 0.67, lr 0.0025, 0.8 samples/s")


def test_a_resumed_run_shows_the_rows_from_before(frontend: Frontend, tmp_path: Path) -> None:
    options: dict[str, Any] = {"output_dir": tmp_path, "save_strategy": "steps", "save_steps": 2}
    notebook_trainer(max_steps=2, **options).train()
    resumed = notebook_trainer(max_steps=4, **options)
    resumed.train(resume_from_checkpoint=True)
    assert [row[0] for row in rows_in(frontend.html)[1:]] == ["1", "2", "3", "4"]
    assert len(rows_in(frontend.html)) == len([e for e in resumed.state.log_history if "loss" in e]) + 1


def test_a_long_table_shows_its_latest_rows(frontend: Frontend) -> None:
    notebook_trainer(max_steps=103).train()
    assert [row[0] for row in rows_in(frontend.html)[1:]] == [str(step) for step in range(4, 104)]
    assert "3 earlier rows are in trainer.state.log_history" in frontend.html


def test_other_processes_than_the_first_show_nothing(frontend: Frontend) -> None:
    class Second(Trainer):
        def is_world_process_zero(self) -> bool:
            return False

    notebook_trainer(cls=Second, max_steps=2, eval_strategy="steps", eval_steps=1).train()
    assert not frontend.shown

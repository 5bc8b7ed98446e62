"""What the reporter `jsonl` writes, and that it reads back as the run that the trainer remembers."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import numpy as np
import pytest
import torch
from interrupted import prepare
from small import are_equal, make_args, make_trainer, weights_of
from torch import nn

from drivetrain import Trainer, TrainingArguments
from drivetrain.plugin import Outcome, Run
from drivetrain.testing import ReporterSuite
from drivetrain_torch.jsonl import JSONLines, read_log

pytestmark = pytest.mark.slow

SUPPORT = Path(__file__).resolve().parents[2] / "support"


def refuse(constant: str) -> NoReturn:
    raise AssertionError(f"{constant} is no JSON")


def lines_of(file: Path) -> list[dict[str, Any]]:
    """The lines as a strict parser has them."""
    return [json.loads(line, parse_constant=refuse) for line in file.read_text("ascii").splitlines()]


def report(
    args: TrainingArguments,
    logs: Iterable[tuple[int, dict[str, Any]]],
    *,
    start_step: int = 0,
    outcome: Outcome | None = "finished",
    reporter: JSONLines | None = None,
) -> JSONLines:
    """Do what core does with a reporter in one call of `train`."""
    reporter = reporter or JSONLines(args)
    reporter.open(Run("a run", args.to_dict(), nn.Linear(1, 1), start_step))
    for step, values in logs:
        reporter.log(values, step)
    if outcome is not None:
        reporter.close(outcome)
    return reporter


def losses(*steps: int, run: int = 0) -> list[tuple[int, dict[str, Any]]]:
    """A log for each step, whose loss tells the run and the step."""
    return [(step, {"train/loss": 100.0 * run + step}) for step in steps]


def read_losses(path: Path, name: str = "train/loss") -> list[tuple[int, float]]:
    return [(line["step"], line[name]) for line in read_log(path) if name in line]


def remembered(trainer: Trainer) -> list[dict[str, Any]]:
    """The trainer's own history, by the names that reporters get."""

    def rename(name: str) -> str:
        if name == "step":
            return name
        return f"eval/{name.removeprefix('eval_')}" if name.startswith("eval_") else f"train/{name}"

    return [{rename(k): v for k, v in entry.items()} for entry in trainer.state.log_history]


def read_values(path: Path) -> list[dict[str, Any]]:
    """What was read back, without what was measured and what the reporter adds."""
    return [
        {k: v for k, v in line.items() if k not in ("time", "epoch") and not k.startswith("perf/")}
        for line in read_log(path)
    ]


@pytest.fixture
def args(tmp_path: Path) -> TrainingArguments:
    return make_args(tmp_path, report_to="jsonl")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "log.jsonl"


class TestJSONLines(ReporterSuite):
    name = "jsonl"

    def read_back(self, folder: Path) -> list[dict[str, Any]]:
        return read_log(folder)


# -- what is in the file ----------------------------------------------------------------------------


def test_a_run_is_a_line_when_it_begins_a_line_for_each_log_and_one_when_it_ends(tmp_path: Path) -> None:
    trainer = make_trainer(
        output_dir=tmp_path, report_to="jsonl", eval_strategy="epoch", run_name="first", max_steps=3
    )
    trainer.train()
    begin, *logs, end = lines_of(tmp_path / "log.jsonl")
    assert (begin["event"], begin["run"], begin["step"]) == ("begin", "first", 0)
    assert begin["config"] == trainer.args.to_dict()
    assert (end["event"], end["outcome"], end["step"]) == ("end", "finished", 3)
    assert [line["step"] for line in logs] == [1, 2, 3, 3, 3]
    assert logs[0]["epoch"] == logs[0]["train/epoch"] == trainer.state.log_history[0]["epoch"]
    times = [line["time"] for line in (begin, *logs, end)]
    assert times == sorted(times)
    assert abs(times[-1] - (tmp_path / "log.jsonl").stat().st_mtime) < 60
    assert read_values(tmp_path) == remembered(trainer)


@pytest.mark.parametrize("outcome", ["failed", "interrupted"])
def test_the_last_line_says_how_the_run_ended(
    args: TrainingArguments, file: Path, outcome: Outcome
) -> None:
    report(args, losses(1), outcome=outcome)
    assert (lines_of(file)[-1]["event"], lines_of(file)[-1]["outcome"]) == ("end", outcome)


def test_secrets_stay_out_of_the_configuration(tmp_path: Path) -> None:
    model = nn.Linear(1, 1)
    model.config = {  # type: ignore[assignment]
        "auth_token": "abc-1",
        "stores": [{"Password": "abc-2", "user": "me"}],
        "aws": {"secret": "abc-3", "api_key": "abc-5", "other_api_key": None},
        "pad_token": "<pad>",
        "dtype": torch.float32,
    }
    args = make_args(tmp_path, report_to="jsonl", push_to_hub=False, hub_token="abc-4")
    trainer = Trainer(model, args)
    trainer.log({"loss": 1.0})
    text = (tmp_path / "log.jsonl").read_text()
    assert "abc-" not in text
    config = lines_of(tmp_path / "log.jsonl")[0]["config"]
    assert config["hub_token"] == "<HUB_TOKEN>"
    assert config["model_config"] == {
        "auth_token": "<AUTH_TOKEN>",
        "stores": [{"Password": "<PASSWORD>", "user": "me"}],
        "aws": {"secret": "<SECRET>", "api_key": "<API_KEY>", "other_api_key": None},
        "pad_token": "<pad>",
        "dtype": "torch.float32",
    }
    assert args.hub_token == "abc-4"


@pytest.mark.parametrize(
    "name",
    [
        *("token", "HF_TOKEN", "bot_token", "AWS_SESSION_TOKEN", "hftoken", "telegram-token"),
        *("key", "openai_key", "apiKey", "X-Api-Key", "AWS_SECRET_ACCESS_KEY", "private_key"),
        *("passwd", "DB_PASSWORD", "passphrase", "client_secret", "credentials"),
    ],
)
def test_a_text_under_a_name_of_a_secret_stays_out_however_deep(
    tmp_path: Path, file: Path, name: str
) -> None:
    model = nn.Linear(1, 1)
    model.config = {name: "abc-1", "deep": [{"deeper": {name: "abc-2"}}]}  # type: ignore[assignment]
    Trainer(model, make_args(tmp_path, report_to="jsonl")).log({"loss": 1.0})
    hidden = {name: f"<{name.upper()}>"}
    assert lines_of(file)[0]["config"]["model_config"] == {**hidden, "deep": [{"deeper": hidden}]}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("eos_token", "</s>"), ("pad_token", "!"), ("decoder_bos_token", "BOS")),
        *(("image_token", "<image>"), ("call_token", "[CALL]"), ("pad_token_id", 0)),
        *(("image_token", 32000), ("num_tokens", 10), ("max_new_tokens", 7), ("tokens", "a b")),
        *(("num_key_value_heads", 4), ("dim_key", 64), ("use_key", True), ("monkey", "see")),
        *(("password", None), ("token", ""), ("key", ["a", "b"]), ("tokenizer", "gpt2")),
    ],
)
def test_what_is_no_secret_is_in_the_configuration(
    tmp_path: Path, file: Path, name: str, value: Any
) -> None:
    model = nn.Linear(1, 1)
    model.config = {name: value}  # type: ignore[assignment]
    Trainer(model, make_args(tmp_path, report_to="jsonl")).log({"loss": 1.0})
    assert lines_of(file)[0]["config"]["model_config"] == {name: value}


@pytest.mark.parametrize(
    ("value", "word"), [(math.nan, "NaN"), (math.inf, "Infinity"), (-math.inf, "-Infinity")]
)
@pytest.mark.parametrize("make", [float, np.float32, np.float64, torch.tensor])
def test_a_number_that_is_not_finite_is_null_and_named_and_comes_back(
    args: TrainingArguments, file: Path, value: float, word: str, make: Callable[[float], Any]
) -> None:
    report(args, [(1, {"train/loss": make(value), "eval/loss": 2.0})])
    _, line, _ = lines_of(file)
    assert (line["train/loss"], line["eval/loss"]) == (None, 2.0)
    assert line["non_finite"] == {"train/loss": word}
    (read,) = read_log(file)
    assert read["train/loss"] == pytest.approx(value, nan_ok=True)
    assert "non_finite" not in read


class Unreadable:
    ndim = 0

    def tolist(self) -> NoReturn:
        raise RuntimeError("gone")


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (torch.tensor(0.5, dtype=torch.bfloat16), 0.5),
        (torch.tensor([1.5, math.inf], requires_grad=True), [1.5, "Infinity"]),
        (np.float32(0.5), 0.5),
        (np.longdouble(0.5), 0.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.array(0.5), 0.5),
        (np.arange(3), [0, 1, 2]),
        ({1: {"a": math.nan, "b": torch.tensor(2)}}, {"1": {"a": "NaN", "b": 2}}),
        ([None, ("x", object)], [None, ["x", "<class 'object'>"]]),
        (10**30, 10**30),
        (True, True),
        (None, None),
        ("une époque\n一\u2028\ud800", "une époque\n一\u2028\ud800"),
        (Path("a/b"), "a/b"),
        (torch.empty(2, device="meta"), "<Tensor>"),
        (Unreadable(), "<Unreadable>"),
    ],
)  # fmt: skip
def test_values_of_every_kind_are_json(
    args: TrainingArguments, file: Path, value: Any, written: Any
) -> None:
    report(args, [(1, {"train/value": value, "train/loss": 1.0})])
    assert len(file.read_bytes().splitlines()) == 3
    line = lines_of(file)[1]
    assert (line["train/value"], line["train/loss"]) == (written, 1.0)
    assert type(line["train/value"]) is type(written)


def test_what_contains_itself_does_not_keep_the_rest_from_arriving(
    args: TrainingArguments, file: Path
) -> None:
    endless: list[Any] = []
    endless.append(endless)
    report(args, [(1, {"train/endless": endless, "train/loss": 1.0})])
    assert read_losses(file) == [(1, 1.0)]


# -- where the file is ------------------------------------------------------------------------------


def test_a_folder_that_was_chosen_for_logs_has_the_file(tmp_path: Path) -> None:
    logs = tmp_path / "logs" / "deep"
    make_trainer(output_dir=tmp_path / "out", logging_dir=str(logs), report_to="jsonl").train()
    assert [path.name for path in logs.iterdir()] == ["log.jsonl"]
    assert not list(tmp_path.glob("out/**/log.jsonl"))


def test_runs_find_the_same_file_again_unless_a_folder_was_chosen(tmp_path: Path) -> None:
    for _ in range(2):
        report(make_args(tmp_path / "out", report_to="jsonl"), losses(1))
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.jsonl")] == [
        "out/log.jsonl"
    ]


def test_nothing_is_imported_for_a_run_that_does_not_name_it() -> None:
    code = (
        "import sys; from drivetrain import Trainer, TrainingArguments;"
        "TrainingArguments('out', report_to='none', use_cpu=True);"
        "print([name for name in sys.modules if 'drivetrain_torch.json' in name])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_log_is_read_without_importing_torch(args: TrainingArguments, file: Path) -> None:
    report(args, losses(1, 2))
    code = (
        "import sys; from drivetrain_torch.jsonl import read_log;"
        f"print(len(read_log({str(file)!r})), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["2", "False"]


def test_all_reporters_are_this_one_among_others(tmp_path: Path) -> None:
    trainer = make_trainer(output_dir=tmp_path, report_to="all", max_steps=2)
    trainer.train()
    assert read_values(tmp_path) == remembered(trainer)


# -- several runs, one after the other --------------------------------------------------------------


def test_a_step_that_was_trained_again_after_a_checkpoint_is_counted_once(
    args: TrainingArguments, file: Path
) -> None:
    report(args, losses(1, 2, 3, 4, run=1), outcome=None)
    report(args, losses(3, 4, 5, run=2), start_step=2)
    assert read_losses(file) == [(1, 101), (2, 102), (3, 203), (4, 204), (5, 205)]
    everything = [line["train/loss"] for line in lines_of(file) if "train/loss" in line]
    assert everything == [101, 102, 103, 104, 203, 204, 205]


def test_what_was_logged_past_the_checkpoint_is_gone_even_where_the_later_run_logged_less(
    args: TrainingArguments, file: Path
) -> None:
    report(args, losses(1, 2, 3, 4, 5, 6, run=1), outcome=None)
    report(args, losses(4, run=2), start_step=2)
    assert read_losses(file) == [(1, 101), (2, 102), (4, 204)]


def test_the_summary_of_a_run_that_was_resumed_at_its_end_is_the_later_one(
    args: TrainingArguments, file: Path
) -> None:
    summary = [(2, {"train/train_loss": 1.0, "train/train_runtime": 9.0})]
    report(args, [*losses(1, 2, run=1), *summary])
    summary = [(2, {"train/train_loss": 1.0, "train/train_runtime": 0.5})]
    report(args, summary, start_step=2)
    assert read_losses(file) == [(1, 101), (2, 102)]
    assert read_losses(file, "train/train_runtime") == [(2, 0.5)]


def test_an_extended_run_reads_back_without_the_summary_of_its_first_part(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"report_to": "jsonl", "save_strategy": "steps", "save_steps": 2}
    make_trainer(output_dir=tmp_path, max_steps=4, **settings).train()
    assert [step for step, _ in read_losses(tmp_path, "train/train_runtime")] == [4]
    trainer = make_trainer(output_dir=tmp_path, max_steps=6, **settings)
    trainer.train(resume_from_checkpoint=True)
    assert [step for step, _ in read_losses(tmp_path, "train/train_runtime")] == [6]
    assert read_values(tmp_path) == remembered(trainer)


def test_a_run_that_is_extended_in_the_same_process_has_one_summary(
    args: TrainingArguments, file: Path
) -> None:
    summary = {"train/train_loss": 1.0, "train/train_runtime": 9.0}
    reporter = report(args, [*losses(1, 2), (2, summary), (2, {"eval/loss": 7.0})])
    report(args, [*losses(3), (3, summary)], start_step=2, reporter=reporter)
    assert [step for step, _ in read_losses(file, "train/train_runtime")] == [3]
    assert read_losses(file) == [(1, 1), (2, 2), (3, 3)]
    assert read_losses(file, "eval/loss") == [(2, 7.0)]


def test_a_run_that_begins_anew_in_the_folder_takes_the_place_of_the_one_before(
    args: TrainingArguments, file: Path
) -> None:
    report(args, [(0, {"eval/loss": 9.0}), *losses(1, 2, 3, run=1)])
    report(args, [(0, {"eval/accuracy": 0.5}), *losses(1, 2, run=2)])
    assert read_losses(file) == [(1, 201), (2, 202)]
    assert (read_losses(file, "eval/loss"), read_losses(file, "eval/accuracy")) == ([], [(0, 0.5)])


def test_an_evaluation_on_its_own_in_the_folder_hides_nothing_of_the_run(
    args: TrainingArguments, file: Path
) -> None:
    report(args, losses(1, 2, run=1))
    report(args, [(0, {"eval/loss": 5.0})])
    assert read_losses(file) == [(1, 101), (2, 102)]
    assert read_losses(file, "eval/loss") == [(0, 5.0)]


def test_logs_of_different_names_at_a_step_and_repeated_ones_of_a_run_are_all_there(
    args: TrainingArguments, file: Path
) -> None:
    logs = [*losses(1), (1, {"eval/loss": 2.0}), (1, {"eval/loss": 3.0})]
    report(args, logs)
    assert read_losses(file) == [(1, 1.0)]
    assert read_losses(file, "eval/loss") == [(1, 2.0), (1, 3.0)]


def test_two_trainers_in_a_notebook_do_not_mix(tmp_path: Path) -> None:
    first = make_trainer(output_dir=tmp_path, report_to="jsonl", max_steps=3)
    second = make_trainer(output_dir=tmp_path, report_to="jsonl", max_steps=5, learning_rate=1e-3)
    first.train()
    first.evaluate()
    assert read_values(tmp_path) == remembered(first)
    second.train()
    first.evaluate()
    second.evaluate()
    assert read_values(tmp_path) == remembered(second)
    second.train()  # after an evaluation without training, whose reporter was open
    assert read_values(tmp_path) == remembered(second)
    trained = [line for line in lines_of(tmp_path / "log.jsonl") if "train/loss" in line]
    assert len(trained) == 3 + 5 + 5


def test_two_runs_at_once_in_a_folder_do_not_mix(args: TrainingArguments, file: Path) -> None:
    first = report(args, losses(1, run=1), outcome=None)
    second = report(args, losses(1, run=2), outcome=None)
    for step in (2, 3):
        first.log({"train/loss": 100.0 + step}, step)
        second.log({"train/loss": 200.0 + step}, step)
    first.close("finished")
    second.close("finished")
    assert read_losses(file) == [(1, 201), (2, 202), (3, 203)]


def count_instructions(work: Callable[[], object]) -> int:
    """How many instructions of the module that reads are carried out."""
    count = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal count
        if frame.f_globals["__name__"] != read_log.__module__:
            return None
        frame.f_trace_opcodes = True
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def resume_often(folder: Path, num_runs: int) -> Path:
    args = make_args(folder, report_to="jsonl")
    for run in range(num_runs):
        report(args, losses(*range(4 * run + 1, 4 * run + 7)), start_step=4 * run, outcome=None)
    return folder


def log_often_at_a_step(folder: Path, num_logs: int) -> Path:
    report(make_args(folder, report_to="jsonl"), losses(*[1] * num_logs))
    return folder


@pytest.mark.parametrize("write", [resume_often, log_often_at_a_step])
def test_reading_takes_work_in_proportion_to_the_lines(
    tmp_path: Path, write: Callable[[Path, int], Path]
) -> None:
    few, many = write(tmp_path / "few", 20), write(tmp_path / "many", 80)
    counts = [count_instructions(lambda folder=folder: read_log(folder)) for folder in (few, many)]
    assert 0 < counts[1] < 5 * counts[0]


# -- what a run that was cut off leaves -------------------------------------------------------------


def start(code: str, *arguments: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(SUPPORT)},
    )


def test_a_run_that_was_killed_and_resumed_reads_back_as_the_trainer_remembers_it(
    tmp_path: Path,
) -> None:
    settings: dict[str, Any] = {
        "report_to": "jsonl",
        "logging_steps": 1,
        "eval_strategy": "steps",
        "eval_steps": 2,
        "save_strategy": "steps",
        "save_steps": 4,
    }
    told = {**settings, "folder": str(tmp_path), "event": "on_step_begin", "step": 7}
    process = start(
        "import interrupted, json, sys; interrupted.main(json.loads(sys.argv[1]))", json.dumps(told)
    )
    assert process.stdout is not None
    assert any(line.startswith("here") for line in process.stdout)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert [at for at, _ in read_losses(tmp_path)] == list(range(1, 8))
    trainer = prepare(tmp_path, **settings)
    trainer.train(resume_from_checkpoint=True)
    assert read_values(tmp_path) == remembered(trainer)
    assert len(read_losses(tmp_path)) == 12
    events = [line for line in lines_of(tmp_path / "log.jsonl") if "event" in line]
    assert [(line["event"], line["step"]) for line in events] == [
        ("begin", 0),
        ("begin", 4),
        ("end", 12),
    ]


ENDLESS = """
import itertools, sys
from torch import nn
from small import make_args
from drivetrain.plugin import Run
from drivetrain_torch.jsonl import JSONLines

args = make_args(sys.argv[1])
reporter = JSONLines(args)
reporter.open(Run("endless", {}, nn.Linear(1, 1), 0))
for step in itertools.count(1):
    reporter.log({"train/loss": 1 / step, "train/text": "x" * (step % 5000)}, step)
    if step == 1000:
        print("here", flush=True)
"""


def test_every_line_of_a_run_that_was_killed_while_it_logged_is_whole(
    tmp_path: Path, file: Path
) -> None:
    process = start(ENDLESS, tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline() == "here\n"
    process.kill()
    process.communicate()
    assert file.read_bytes().endswith(b"\n")
    steps = [line["step"] for line in lines_of(file)]
    assert steps == list(range(len(steps)))
    assert len(steps) > 1000


def test_a_line_that_was_torn_is_ended_and_kept(args: TrainingArguments, file: Path) -> None:
    report(args, losses(1, 2, run=1), outcome=None)
    torn = b'{"step": 3, "train/lo'
    with file.open("ab") as appended:
        appended.write(torn)
    assert read_losses(file) == [(1, 101), (2, 102)]
    report(args, losses(3, run=2), start_step=2)
    assert file.read_bytes().splitlines()[3] == torn
    assert file.read_bytes().count(b"\n\n") == 0
    assert read_losses(file) == [(1, 101), (2, 102), (3, 203)]


@pytest.mark.parametrize(
    "foreign",
    [
        '{"step": 3, "loss": 9.0}',
        '{"step": 3, "session": 5, "train/loss": 9.0}',
        '{"step": 3, "session": ["a"], "train/loss": 9.0}',
        '{"step": true, "session": "a", "train/loss": 9.0}',
        '{"step": "3", "session": "a", "train/loss": 9.0}',
        '{"step": 3, "session": "a", "event": ["begin"]}',
        "[3]",
        pytest.param("[" * 100_000, id="deep"),
    ],
)
def test_lines_that_somebody_else_wrote_are_passed_over(
    args: TrainingArguments, file: Path, foreign: str
) -> None:
    report(args, losses(1, 2), outcome=None)
    with file.open("a") as appended:
        appended.write(foreign + "\n")
    assert read_losses(file) == [(1, 1), (2, 2)]
    assert len(read_log(file)) == 2


@pytest.mark.parametrize(
    "odd", [3, "NaN", ["train/loss"], {"train/loss": 3}, {"train/loss": "much"}, {"train/loss": []}]
)
def test_a_note_of_what_was_not_finite_that_makes_no_sense_is_passed_over(
    args: TrainingArguments, file: Path, odd: Any
) -> None:
    report(args, losses(1), outcome=None)
    line = {**lines_of(file)[-1], "step": 2, "train/loss": 0.5, "non_finite": odd}
    with file.open("a") as appended:
        appended.write(json.dumps(line) + "\n")
    assert read_losses(file) == [(1, 1), (2, 0.5)]
    assert "non_finite" not in read_log(file)[-1]


def test_a_folder_that_is_removed_in_mid_run_is_made_again(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    args = make_args(folder, report_to="jsonl")
    reporter = report(args, losses(1, 2), outcome=None)
    session = lines_of(folder / "log.jsonl")[0]["session"]
    shutil.rmtree(folder)
    for step, values in losses(3, 4):
        reporter.log(values, step)
    begin, *logs = lines_of(folder / "log.jsonl")
    assert (begin["event"], begin["step"], begin["run"]) == ("begin", 2, "a run")
    assert begin["config"] == args.to_dict()
    assert {line["session"] for line in (begin, *logs)} == {session}
    assert read_losses(folder) == [(3, 3), (4, 4)]
    reporter.close("finished")
    assert lines_of(folder / "log.jsonl")[-1]["event"] == "end"


def test_a_folder_that_is_removed_after_the_last_log_stays_removed(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    reporter = report(make_args(folder, report_to="jsonl"), losses(1), outcome=None)
    shutil.rmtree(folder)
    reporter.close("finished")
    assert not folder.exists()


def test_a_log_that_found_no_place_for_a_new_file_is_an_error_and_the_next_tries_again(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "out"
    reporter = report(make_args(folder, report_to="jsonl"), losses(1), outcome=None)
    shutil.rmtree(folder)
    folder.touch()
    with pytest.raises(FileExistsError):
        reporter.log({"train/loss": 2.0}, 2)
    folder.unlink()
    reporter.log({"train/loss": 3.0}, 3)
    reporter.close("finished")
    assert read_losses(folder) == [(3, 3.0)]


LIMITED = """
import os, resource, sys
from torch import nn
from small import make_args
from drivetrain.plugin import Run
from drivetrain_torch.jsonl import JSONLines

reporter = JSONLines(make_args(sys.argv[1]))
reporter.open(Run("limited", {}, nn.Linear(1, 1), 0))
reporter.log({"train/loss": 1.0}, 1)
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
size = os.stat(os.path.join(sys.argv[1], "log.jsonl")).st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, hard))
for step in (2, 3):
    try:
        reporter.log({"train/loss": float(step)}, step)
    except OSError:
        print("refused", step)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
reporter.log({"train/loss": 4.0}, 4)
reporter.close("finished")
"""


def test_a_disk_without_room_is_an_error_and_costs_the_lines_that_did_not_fit_alone(
    tmp_path: Path, file: Path
) -> None:
    process = start(LIMITED, tmp_path)
    assert process.communicate()[0].splitlines() == ["refused 2", "refused 3"]
    assert read_losses(file) == [(1, 1.0), (4, 4.0)]
    begin, _, torn, _, end = file.read_bytes().splitlines()
    assert (json.loads(begin)["event"], json.loads(end)["event"]) == ("begin", "end")
    assert len(torn) == 10


def test_a_full_disk_does_not_change_the_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    quiet = make_trainer(output_dir=tmp_path / "quiet")
    quiet.train()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "log.jsonl").symlink_to("/dev/full")
    trainer = make_trainer(output_dir=tmp_path / "full", report_to="jsonl")
    trainer.train()
    assert are_equal(weights_of(quiet), weights_of(trainer))
    assert caplog.text.count("No space left on device") == 1


def test_a_folder_without_a_log_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"log\.jsonl"):
        read_log(tmp_path)


def test_files_are_closed_with_the_run(args: TrainingArguments) -> None:
    before = os.listdir("/proc/self/fd")
    reporter = report(args, losses(1))
    report(args, losses(2), start_step=1, reporter=reporter)
    reporter.close("finished")
    assert os.listdir("/proc/self/fd") == before

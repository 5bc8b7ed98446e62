"""`profile=True`: a trace of a few updates."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from small import are_equal, make_trainer, weights_of

from drivetrain import TrainerCallback


class FailsAfter(TrainerCallback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == self.step:
            raise RuntimeError("broken on purpose")


def traces_in(folder: Path) -> list[Path]:
    return sorted((folder / "profile").glob("*.json"))


def count_updates(trace: Path) -> int:
    """Updates in a trace: calls of the optimizer."""
    events = json.loads(trace.read_text(encoding="utf-8"))["traceEvents"]
    return sum(event.get("name", "").startswith("Optimizer.step#") for event in events)


@pytest.mark.parametrize(
    ("max_steps", "first", "num_updates"),
    [(1, 1, 1), (2, 2, 1), (3, 3, 1), (4, 3, 2), (5, 3, 3), (12, 3, 3)],
)
def test_three_updates_after_two_are_recorded_or_what_there_is(
    tmp_path: Path, max_steps: int, first: int, num_updates: int
) -> None:
    make_trainer(profile=True, max_steps=max_steps, output_dir=tmp_path).train()
    (trace,) = traces_in(tmp_path)
    assert trace.name == f"trace-from-update-{first}.json"
    assert count_updates(trace) == num_updates


def test_the_heaviest_operators_are_logged_with_where_the_trace_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        make_trainer(profile=True, output_dir=tmp_path).train()
    (said,) = [text for text in caplog.messages if text.startswith("Profiled")]
    (trace,) = traces_in(tmp_path)
    assert str(trace) in said
    table = trace.with_suffix(".txt").read_text(encoding="utf-8")
    assert table.strip() in said
    rows = [float(share) for share in re.findall(r"^ *\S.*? +(\d+\.\d+)% ", table, re.MULTILINE)]
    assert len(rows) == 15
    assert rows == sorted(rows, reverse=True)
    assert "aten::addmm" in json.dumps(json.loads(trace.read_text(encoding="utf-8")))


def test_the_profiler_is_off_before_and_after_the_updates_that_it_records(tmp_path: Path) -> None:
    class Watch(TrainerCallback):
        def __init__(self) -> None:
            self.recorded: list[bool] = []

        def on_substep_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.recorded.append(torch.autograd._profiler_enabled())

    watch = Watch()
    make_trainer(
        profile=True, max_steps=8, gradient_accumulation_steps=2, callbacks=[watch], output_dir=tmp_path
    ).train()
    assert watch.recorded == [False, False, True, True, True, False, False, False]


def test_a_run_that_fails_while_it_is_recorded_leaves_its_trace(tmp_path: Path) -> None:
    trainer = make_trainer(profile=True, callbacks=[FailsAfter(4)], output_dir=tmp_path)
    with pytest.raises(RuntimeError, match="on purpose"):
        trainer.train()
    assert not torch.autograd._profiler_enabled()
    (trace,) = traces_in(tmp_path)
    assert count_updates(trace) == 2


@pytest.mark.parametrize("step", [0, 1])
def test_a_run_that_fails_before_says_that_there_is_no_trace(
    tmp_path: Path, step: int, caplog: pytest.LogCaptureFixture
) -> None:
    trainer = make_trainer(profile=True, callbacks=[FailsAfter(step)], output_dir=tmp_path)
    with pytest.raises(RuntimeError, match="on purpose"):
        trainer.train()
    assert "`profile`: the run ended before the first update to record" in caplog.text
    assert not torch.autograd._profiler_enabled()
    assert traces_in(tmp_path) == []


def test_a_run_that_resumes_is_recorded_from_where_it_goes_on(tmp_path: Path) -> None:
    make_trainer(max_steps=10, save_strategy="steps", save_steps=4, output_dir=tmp_path).train()
    trainer = make_trainer(profile=True, max_steps=10, output_dir=tmp_path)
    trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))
    (trace,) = traces_in(tmp_path)
    assert trace.name == "trace-from-update-7.json"
    assert count_updates(trace) == 3


def test_the_weights_are_as_without_it(tmp_path: Path) -> None:
    weights = []
    for profile in (True, False):
        trainer = make_trainer(profile=profile, output_dir=tmp_path)
        trainer.train()
        weights.append(weights_of(trainer))
    assert are_equal(*weights)
    assert len(traces_in(tmp_path)) == 1


def test_without_it_there_is_no_trace(tmp_path: Path) -> None:
    make_trainer(output_dir=tmp_path).train()
    assert not (tmp_path / "profile").exists()


@pytest.mark.gpu
def test_on_a_gpu_its_kernels_are_in_the_trace(tmp_path: Path) -> None:
    make_trainer(profile=True, output_dir=tmp_path, use_cpu=False).train()
    (trace,) = traces_in(tmp_path)
    events = json.loads(trace.read_text(encoding="utf-8"))["traceEvents"]
    assert [event for event in events if event.get("cat") == "kernel"]

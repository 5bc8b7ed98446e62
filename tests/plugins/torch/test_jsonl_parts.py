"""What the reporter `jsonl` notes besides numbers: versions, pictures, and how each part of a run went."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small import make_args, make_trainer
from torch import nn

import drivetrain
from drivetrain import TrainerCallback
from drivetrain.plugin import Image, Outcome, Run, read_versions
from drivetrain_torch.jsonl import JSONLines, read_log, read_parts

pytestmark = pytest.mark.slow


class Fails(TrainerCallback):
    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == 4:
            raise ArithmeticError("out of numbers")


def open_reporter(folder: Path, start_step: int = 0, **arguments: Any) -> JSONLines:
    args = make_args(folder, report_to="jsonl", **arguments)
    reporter = JSONLines(args)
    reporter.open(Run("a run", args.to_dict(), nn.Linear(1, 1), start_step, {"model": "Linear"}))
    return reporter


def write_part(folder: Path, start: int, end: int, outcome: Outcome | None) -> None:
    reporter = open_reporter(folder, start)
    for step in range(start + 1, end + 1):
        reporter.log({"train/loss": 1.0}, step)
    if outcome is not None:
        reporter.close(outcome)


def make_picture(value: int = 200) -> Image:
    return Image(np.full((4, 6, 3), value, np.uint8), "grey")


def test_the_first_line_has_the_versions_that_the_run_is_made_with(tmp_path: Path) -> None:
    make_trainer(output_dir=tmp_path, report_to="jsonl", max_steps=1).train()
    begin = json.loads((tmp_path / "log.jsonl").read_text().splitlines()[0])
    versions = begin["versions"]
    assert versions["torch"] == torch.__version__
    assert versions["drivetrain"] == drivetrain.__version__
    assert versions["drivetrain-torch"]
    assert begin["facts"]["model"] == "Net"


def test_versions_are_those_of_what_is_imported() -> None:
    versions = read_versions()
    assert versions["torch"] == torch.__version__
    assert "drivetrain-torch" in versions
    assert ("drivetrain-apollo" in versions) == ("drivetrain_apollo" in sys.modules)


def test_a_run_that_failed_tells_the_error_and_reads_back_by_parts(tmp_path: Path) -> None:
    trainer = make_trainer(output_dir=tmp_path, report_to="jsonl", max_steps=9, callbacks=[Fails()])
    with pytest.raises(ArithmeticError):
        trainer.train()
    (part,) = read_parts(tmp_path)
    assert (part.start_step, part.last_step, part.outcome) == (0, 4, "failed")
    assert len(part.errors) == 1
    assert "out of numbers" in part.errors[0]
    assert part.config["max_steps"] == 9
    assert 0 < part.began <= part.ended


def test_parts_tell_kills_and_resumptions(tmp_path: Path) -> None:
    write_part(tmp_path, 0, 5, None)
    write_part(tmp_path, 3, 8, "interrupted")
    write_part(tmp_path, 8, 9, "finished")
    parts = [(part.start_step, part.last_step, part.outcome) for part in read_parts(tmp_path)]
    assert parts == [(0, 5, None), (3, 8, "interrupted"), (8, 9, "finished")]
    assert [line["step"] for line in read_log(tmp_path)] == list(range(1, 10))


def test_a_file_from_before_versions_were_noted_still_reads(tmp_path: Path) -> None:
    lines = [
        {"step": 0, "time": 1.5, "session": "ab", "event": "begin", "run": "old", "config": {"seed": 1}},
        {"step": 1, "time": 2.5, "session": "ab", "train/loss": 0.5},
        {"step": 1, "time": 3.5, "session": "ab", "event": "end", "outcome": "finished"},
    ]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (part,) = read_parts(tmp_path / "log.jsonl")
    assert (part.run, part.config, part.versions, part.facts) == ("old", {"seed": 1}, {}, {})
    assert (part.began, part.ended, part.outcome, part.has_trained) == (1.5, 3.5, "finished", True)
    assert read_log(tmp_path) == [{"step": 1, "time": 2.5, "train/loss": 0.5}]


def test_a_picture_is_a_file_that_the_line_names(tmp_path: Path) -> None:
    reporter = open_reporter(tmp_path)
    reporter.log({"eval/a map/of <x>": make_picture(), "eval/loss": 1.0}, 3)
    reporter.close("finished")
    (line,) = read_log(tmp_path)
    assert line["eval/loss"] == 1.0
    assert line["eval/a map/of <x>"]["caption"] == "grey"
    file = tmp_path / line["eval/a map/of <x>"]["image"]
    assert file.parent == tmp_path / "media"
    assert file.read_bytes() == make_picture().to_png()


def test_pictures_of_a_step_that_is_trained_again_are_the_same_file(tmp_path: Path) -> None:
    for _ in range(2):
        reporter = open_reporter(tmp_path, start_step=1)
        reporter.log({"a": make_picture()}, 2)
    reporter.log({"a": make_picture(7)}, 2)
    reporter.close("finished")
    assert len(list((tmp_path / "media").iterdir())) == 2


def test_pictures_lie_beside_the_lines_where_a_folder_was_chosen_for_them(tmp_path: Path) -> None:
    reporter = open_reporter(tmp_path / "out", logging_dir=str(tmp_path / "logs"))
    reporter.log({"a": make_picture()}, 1)
    reporter.close("finished")
    (line,) = read_log(tmp_path / "logs")
    assert (tmp_path / "logs" / line["a"]["image"]).is_file()


def test_a_picture_that_cannot_be_written_is_left_out_with_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "media").write_text("a file in the way")
    reporter = open_reporter(tmp_path)
    with caplog.at_level(logging.WARNING):
        for step in (1, 2):
            reporter.log({"a": make_picture(), "train/loss": 0.5}, step)
    reporter.close("finished")
    assert [line["train/loss"] for line in read_log(tmp_path)] == [0.5, 0.5]
    assert len([r for r in caplog.records if "is left out" in r.getMessage()]) == 1


def test_it_is_told_in_the_thread_that_trains_so_that_no_line_waits() -> None:
    assert JSONLines.is_immediate

"""What `trainer_state.json` keeps of what was logged."""

from __future__ import annotations

import json
import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small import make_trainer

from drivetrain import Trainer, TrainerState


class Plain:
    def __repr__(self) -> str:
        return "a plain object"


KEPT: dict[str, tuple[Any, Any]] = {
    "a tensor": (torch.tensor(1.5, requires_grad=True), 1.5),
    "a tensor of several": (torch.ones(2, 1, dtype=torch.bfloat16), [[1.0], [1.0]]),
    "a number of NumPy": (np.float32(0.25), 0.25),
    "a truth of NumPy": (np.bool_(True), True),
    "an array": (np.arange(3), [0, 1, 2]),
    "a fraction": (Fraction(1, 4), 0.25),
    "a path": (Path("some") / "where", str(Path("some") / "where")),
    "an object": (Plain(), "a plain object"),
    "objects in an array": (np.array([Plain()]), ["a plain object"]),
    "a class": (np.ndarray, "<class 'numpy.ndarray'>"),
    "a complex number": (1 + 2j, "(1+2j)"),
    "a tensor without values": (torch.ones(2, device="meta"), "tensor(..., device='meta', size=(2,))"),
    "a tuple": ((1, "a", None), [1, "a", None]),
    "a dict": ({1: np.int64(2), None: {"b": Path("c")}}, {"1": 2, "null": {"b": "c"}}),
    "keys of several sorts": ({"a": 1, 2: 3, (4, 5): 6}, {"a": 1, "2": 3, "(4, 5)": 6}),
}


@pytest.mark.parametrize("name", KEPT)
def test_what_was_logged_is_kept_as_numbers_lists_or_text(name: str, tmp_path: Path) -> None:
    logged, kept = KEPT[name]
    TrainerState(log_history=[{"metric": logged, "step": 1}]).save_to_json(tmp_path / "state.json")
    read = TrainerState.load_from_json(tmp_path / "state.json")
    assert read.log_history == [{"metric": kept, "step": 1}]
    assert type(read.log_history[0]["metric"]) is type(kept)


@pytest.mark.parametrize(
    "number", [math.nan, math.inf, -math.inf, np.float64("nan"), torch.tensor(math.inf)]
)
def test_numbers_that_are_none_are_kept(number: Any) -> None:
    (entry,) = json.loads(TrainerState(log_history=[{"metric": number}]).to_json())["log_history"]
    assert str(entry["metric"]) == str(float(number))


def test_a_metric_that_json_cannot_hold_does_not_end_a_run(tmp_path: Path) -> None:
    class Logging(Trainer):
        def log(self, logs: dict[str, Any], start_time: float | None = None) -> None:
            super().log({**logs, "norm": torch.tensor(2.0), "file": Path("a")}, start_time)

    options: dict[str, Any] = {"output_dir": tmp_path, "save_strategy": "steps", "save_steps": 2}
    make_trainer(Logging, max_steps=2, **options).train()
    resumed = make_trainer(Logging, max_steps=3, **options)
    resumed.train(resume_from_checkpoint=True)
    first, _, third = resumed.state.log_history[:3]
    assert (first["norm"], first["file"]) == (2.0, "a")
    assert third["norm"] == torch.tensor(2.0)

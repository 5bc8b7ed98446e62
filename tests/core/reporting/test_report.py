"""`Trainer.report`: numbers, texts and pictures that go to the reporters, and into no log."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from fragile import make_fragile
from small import make_trainer

from drivetrain import TrainerCallback, register
from drivetrain.plugin import Image


class Showing(TrainerCallback):
    """Reports a number, a text, a tensor and a picture in the second update, and alters them afterwards."""

    trainer: Any

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step != 2:
            return
        self.pixels = np.full((2, 3, 3), 7, dtype=np.uint8)
        self.scalar = torch.tensor(2.5)
        values = {
            "train/number": 3,
            "text": "une époque",
            "eval/scalar": self.scalar,
            "picture": Image(self.pixels, "seven"),
        }
        self.trainer.report(values)
        values.clear()
        self.scalar.fill_(0)
        self.pixels.fill(0)


def test_what_is_reported_arrives_under_its_own_name_as_it_was_then() -> None:
    cls = make_fragile()
    register("reporter", "noting", cls)
    showing = Showing()
    trainer = make_trainer(report_to="noting", callbacks=[showing], reporter_timeout=20)
    showing.trainer = trainer
    trainer.train()
    ((step, values),) = [(step, values) for step, values in cls.logged if "text" in values]
    assert step == 2
    assert set(values) == {"train/number", "text", "eval/scalar", "picture"}
    assert (values["train/number"], values["text"], float(values["eval/scalar"])) == (
        3,
        "une époque",
        2.5,
    )
    assert isinstance(values["picture"], Image)
    assert values["picture"].caption == "seven"
    assert (values["picture"].pixels == 7).all()
    assert not any("text" in entry or "train/number" in entry for entry in trainer.state.log_history)


def test_what_is_reported_without_training_opens_the_reporter() -> None:
    cls = make_fragile(is_immediate=True)
    register("reporter", "noting", cls)
    make_trainer(report_to="noting").report({"figure": 1.0})
    assert cls.calls == [("open", 0), ("log", 0)]


def test_with_nobody_to_report_to_it_does_nothing(caplog: pytest.LogCaptureFixture) -> None:
    trainer = make_trainer()
    trainer.report({"number": 1.0})
    assert trainer.state.log_history == []
    assert caplog.records == []

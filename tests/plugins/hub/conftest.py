"""A hub on this machine, and trainers that push to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_hub import FakeHub
from small import make_trainer

from drivetrain import Trainer

MakeTrainer = Callable[..., Trainer]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A hub that huggingface_hub talks to."""
    with FakeHub() as hub:
        hub.connect(monkeypatch)
        yield hub


@pytest.fixture
def pushing(hub: FakeHub, tmp_path: Path) -> MakeTrainer:
    """Makes trainers of six updates that push to ``me/net`` and save every second one."""

    def make(**options: Any) -> Trainer:
        defaults = {"output_dir": tmp_path / "net", "push_to_hub": True, "save_strategy": "steps"}
        return make_trainer(**{**defaults, "save_steps": 2, **options})

    return make

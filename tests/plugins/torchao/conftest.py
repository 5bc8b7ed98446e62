"""Arguments for these optimizers, whose step is not compiled unless a test asks for that."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from drivetrain import TrainingArguments


@pytest.fixture
def make_args(tmp_path: Path) -> Callable[..., TrainingArguments]:
    """Arguments of a run on the CPU, with `adamw_torch_8bit` by default."""

    def make(**given: Any) -> TrainingArguments:
        return TrainingArguments(
            **{
                "output_dir": str(tmp_path),
                "use_cpu": True,
                "report_to": "none",
                "disable_tqdm": True,
                "learning_rate": 1e-3,
                "optim": "adamw_torch_8bit",
                "optim_args": "compile=False",
                **given,
            }
        )

    return make

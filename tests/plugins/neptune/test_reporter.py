"""What those are told who ask for Neptune."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.support.small import make_net, make_trainer

from drivetrain import TrainingArguments
from drivetrain.cli import main as run_command
from drivetrain.plugin import UsageError
from drivetrain.testing.suite import PartSuite
from drivetrain_neptune.reporter import EXPLANATION, Neptune
from drivetrain_registry import default_registry
from drivetrain_registry.kinds import REPORTER

pytestmark = pytest.mark.slow

README = Path(__file__).resolve().parents[3] / "contrib" / "neptune" / "README.md"


class TestNeptune(PartSuite):
    """What holds of every plugin; it is no reporter that a run could have."""

    kind = REPORTER
    name = "neptune"

    def name_part(self, options: Mapping[str, Any]) -> dict[str, Any]:
        return {"report_to": [self.name]}


def test_the_name_is_refused_with_the_reason_and_what_to_type(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="`report_to`: 'neptune' leads nowhere") as caught:
        TrainingArguments(str(tmp_path), report_to="neptune", use_cpu=True)
    assert "November 2025" in str(caught.value)
    assert "Type report_to='wandb'" in str(caught.value)


def test_every_reporter_that_is_named_instead_is_a_name_that_drivetrain_knows() -> None:
    instead = EXPLANATION[EXPLANATION.index("Type report_to=") :]
    for name in re.findall(r"'(\w+)'", instead):
        assert name in default_registry().names(REPORTER) or is_published(name), name


def is_published(name: str) -> bool:
    """Whether what is said of a name that is not installed tells that it is known."""
    with pytest.raises(UsageError) as caught:
        default_registry().resolve(REPORTER, name)
    return bool(re.search("pip install|published name", str(caught.value)))


def test_all_reporters_are_not_this_one(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    trainer = make_trainer(output_dir=tmp_path, report_to="all", max_steps=1, model=make_net())
    reporters = [getattr(c, "reporter", None) for c in trainer.callback_handler.callbacks]
    assert any(reporters)
    assert not any(isinstance(reporter, Neptune) for reporter in reporters)
    assert "neptune" not in caplog.text.lower()


def test_its_page_says_that_it_reports_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["plugins", "show", "neptune"]) == 0
    assert "Reports nothing" in capsys.readouterr().out


def test_the_readme_reads_what_the_library_wrote_offline(tmp_path: Path) -> None:
    """Lines as neptune 1.14.0.post2 writes them."""
    folder = tmp_path / ".neptune" / "offline" / "run__f3ec470f__1505__4zyvpedp"
    folder.mkdir(parents=True)
    operations = [
        {"type": "AssignFloat", "path": ["params", "lr"], "value": 0.1},
        {
            "type": "LogFloats",
            "path": ["train", "loss"],
            "values": [{"value": 0.5, "step": 2, "ts": 1.0}],
        },
    ]
    lines = [json.dumps({"obj": obj, "version": n, "at": 1.0}) for n, obj in enumerate(operations)]
    (folder / "data-1.log").write_text("\n".join(lines) + "\n")
    (code,) = re.findall(r"^```python\n(.*?)^```", README.read_text(), flags=re.MULTILINE | re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stdout == "train/loss 2 0.5\n", done.stderr

"""The page about moving a script: its script runs with either import line and gives the same numbers."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import drivetrain
from drivetrain import Trainer

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = (REPOSITORY / "docs" / "moving.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)


def run(code: str, folder: Path) -> dict[str, float]:
    """Run the script with the page's command line, on the CPU; return what it saved of its evaluation."""
    folder.mkdir()
    (folder / "finetune.py").write_text(code)
    (line,) = blocks("sh")
    words = line.split()
    assert words[:2] == ["python", "finetune.py"]
    done = subprocess.run(
        [sys.executable, *words[1:], "--use_cpu", "--disable_tqdm", "true"],
        capture_output=True,
        text=True,
        cwd=folder,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "***** eval metrics *****" in done.stdout
    saved = folder / "runs" / "first"
    assert (saved / "model.safetensors").is_file()
    metrics: dict[str, float] = json.loads((saved / "eval_results.json").read_text())
    return metrics


@pytest.mark.slow
@pytest.mark.parity
def test_the_script_gives_the_same_loss_with_either_import_line(tmp_path: Path) -> None:
    (code,) = blocks("python")
    assert code.count("from drivetrain import") == 1
    ours = run(code, tmp_path / "ours")
    theirs = run(code.replace("from drivetrain import", "from transformers import"), tmp_path / "theirs")
    assert ours["eval_loss"] == theirs["eval_loss"] < 4
    assert ours["epoch"] == theirs["epoch"]


def test_what_is_said_to_override_is_there_and_what_is_said_to_be_missing_is_not() -> None:
    rows = re.findall(r"^\| (`.*?) \| (.*?) \|$", PAGE, flags=re.MULTILINE)
    assert len(rows) == 7
    for missing, instead in rows:
        assert not any(hasattr(Trainer, name) for name in re.findall(r"`(\w+)`", missing))
        assert all(hasattr(Trainer, name) for name in re.findall(r"`(\w+)`", instead))


@pytest.mark.parametrize(
    "name",
    [
        *("Trainer", "TrainingArguments", "Seq2SeqTrainer", "Seq2SeqTrainingArguments"),
        *("HfArgumentParser", "TrainerCallback", "EarlyStoppingCallback", "EvalPrediction", "set_seed"),
        *("TrainerState", "TrainerControl", "PrinterCallback", "ProgressCallback", "get_scheduler"),
        *("default_data_collator", "DataCollatorWithPadding", "IntervalStrategy", "SchedulerType"),
        *("enable_full_determinism", "DebugUnderflowOverflow", "DefaultFlowCallback"),
    ],
)
def test_what_scripts_import_beside_the_trainer_is_there(name: str) -> None:
    assert getattr(drivetrain, name).__name__

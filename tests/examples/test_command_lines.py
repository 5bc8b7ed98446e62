"""What every example's command line does: help, files, launchers, and what is missing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from scripts import ACCELERATE, EXAMPLES, run_example

pytestmark = pytest.mark.slow

FIRST_STEPS = (
    "--output_dir",
    "out",
    "--do_train",
    "--do_eval",
    "--max_steps",
    "2",
    "--report_to",
    "none",
)
SMALL = {
    "text_classification": ("--docstrings_per_library", "6", "--max_seq_length", "16"),
    "image_classification": ("--width", "4"),
    "language_modeling": ("--hidden_size", "32", "--num_layers", "1", "--eval_share", "0.01"),
    "seq2seq": ("--d_model", "16", "--num_eval", "8", "--predict_with_generate"),
}
NEEDS = {
    "text_classification": "datasets",
    "image_classification": "sklearn",
    "language_modeling": "tokenizers",
    "seq2seq": "transformers",
}

each_example = pytest.mark.parametrize("name", SMALL)


@each_example
def test_it_starts_with_accelerate_launch(name: str, tmp_path: Path) -> None:
    done = run_example(name, tmp_path, *FIRST_STEPS, *SMALL[name], launcher=ACCELERATE)
    assert done.returncode == 0, done.stderr
    assert done.read_results("train")["train_loss"] > 0
    assert done.read_results("eval")["eval_loss"] > 0
    assert (done.output / "model.safetensors").is_file()
    assert "Training " in done.stderr  # what progress begins with
    assert "***** eval metrics *****" in done.stdout


@each_example
def test_help_needs_neither_torch_nor_what_the_example_needs(name: str, tmp_path: Path) -> None:
    code = f"import sys; sys.modules['torch'] = sys.modules[{NEEDS[name]!r}] = None"
    done = run_example(name, tmp_path, "--help", code=code)
    assert done.returncode == 0, done.stderr
    assert SMALL[name][0] in done.stdout
    assert "--learning_rate" in done.stdout


@each_example
def test_a_package_that_is_missing_is_named_with_what_to_type(name: str, tmp_path: Path) -> None:
    code = f"import sys; sys.modules[{NEEDS[name]!r}] = None"
    done = run_example(name, tmp_path, *FIRST_STEPS, *SMALL[name], code=code)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.endswith(" is not installed. Type: pip install -r requirements/examples.txt")
    assert NEEDS[name] in line


@each_example
def test_a_wrong_value_in_a_file_ends_with_one_line(name: str, tmp_path: Path) -> None:
    (tmp_path / "wrong.json").write_text(json.dumps({"output_dir": "out", "optim": "adamw_troch"}))
    done = run_example(name, tmp_path, "wrong.json")
    assert done.returncode == 2
    assert done.stderr.startswith("`optim`: 'adamw_troch' is not installed. Did you mean")
    assert done.stderr.count("\n") == 1


@each_example
def test_its_readme_names_the_command_lines_of_its_script(name: str) -> None:
    readme = (EXAMPLES / name / "README.md").read_text(encoding="utf-8")
    for line in (f"train.py examples/{name}/settings.json", "--do_train", "accelerate launch"):
        assert line in readme

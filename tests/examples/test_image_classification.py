"""The digits, in two thirds of the epochs that the example's own settings have."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.torch import load_file
from scripts import Done, run_example, train_example
from small import are_equal

pytestmark = pytest.mark.slow

PNG = b"\x89PNG\r\n\x1a\n"
SHORT = ("--output_dir", "out", "--do_train", "--max_steps", "20", "--save_steps", "10")


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    folder = tmp_path_factory.mktemp("reader")
    return train_example("image_classification", folder, num_train_epochs=20, save_strategy="no")


def test_it_reads_95_of_100_digits(done: Done) -> None:
    assert done.read_results("eval")["eval_accuracy"] > 0.95


def test_it_draws_a_picture(done: Done) -> None:
    assert (done.output / "predictions.png").read_bytes().startswith(PNG)


def test_it_resumes_from_a_checkpoint_to_the_same_weights(tmp_path: Path) -> None:
    straight = run_example("image_classification", tmp_path, *SHORT)
    assert straight.returncode == 0, straight.stderr
    weights = load_file(straight.output / "model.safetensors")
    (straight.output / "model.safetensors").unlink()
    checkpoint = ("--resume_from_checkpoint", "out/checkpoint-10")
    resumed = run_example("image_classification", tmp_path, *SHORT, *checkpoint)
    assert resumed.returncode == 0, resumed.stderr
    assert are_equal(load_file(resumed.output / "model.safetensors"), weights)
    newest = run_example("image_classification", tmp_path, *SHORT, "--resume_from_checkpoint", "true")
    assert newest.returncode == 0, newest.stderr
    assert are_equal(load_file(newest.output / "model.safetensors"), weights)


def test_a_checkpoint_that_is_not_there_ends_with_one_line(tmp_path: Path) -> None:
    done = run_example("image_classification", tmp_path, *SHORT, "--resume_from_checkpoint", "lost")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "lost" in done.stderr

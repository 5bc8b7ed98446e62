"""Fine-tuning MiniLM on docstrings, with fewer of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from scripts import Done, load_module, train_example

pytestmark = pytest.mark.slow

MAJORITY = 1 / 6


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    return train_example(
        "text_classification",
        tmp_path_factory.mktemp("reader"),
        docstrings_per_library=30,
        max_seq_length=32,
        num_train_epochs=2,
        per_device_train_batch_size=12,
    )


def test_it_beats_always_saying_the_same_by_far(done: Done) -> None:
    assert done.read_results("eval")["eval_accuracy"] > 2 * MAJORITY
    assert done.read_results("predict")["predict_accuracy"] > 2 * MAJORITY


def test_it_writes_what_it_says_of_each_test_text(done: Done) -> None:
    rows = done.read_predictions()
    hits = [row["library"] == row["predicted"] for row in rows]
    assert len(rows) == 6 * 10
    assert sum(hits) / len(hits) == pytest.approx(done.read_results("predict")["predict_accuracy"])


def test_it_keeps_the_best_of_the_evaluations(done: Done) -> None:
    lines = [line for line in done.stdout.splitlines() if line.startswith("{'eval_accuracy'")]
    assert len(lines) == 3  # two epochs, and the best of them again
    assert {path.name for path in done.output.iterdir()} >= {
        "all_results.json",
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "trainer_state.json",
    }


def test_no_text_is_in_two_splits_and_libraries_are_not_named() -> None:
    docstrings = load_module("text_classification", "docstrings")
    splits = docstrings.read_docstrings(20)
    texts = [text for columns in splits.values() for text in columns["text"]]
    assert len(texts) == len(set(texts)) == 6 * (20 + 6 + 6)
    assert not [text for text in texts if "pandas" in text.lower() or "sklearn" in text.lower()]


def test_no_source_file_is_in_two_splits() -> None:
    docstrings = load_module("text_classification", "docstrings")
    files = docstrings._list_files("networkx")
    assert {file.split for file in files} == {"train", "validation", "test"}
    assert [file.split for file in files] == [file.split for file in docstrings._list_files("networkx")]
    assert not [file for file in files if "tests" in Path(file.path).parts]

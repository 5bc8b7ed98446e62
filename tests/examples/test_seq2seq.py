"""A small T5 that splits names into words, for fewer updates."""

from __future__ import annotations

import ast

import pytest
from scripts import Done, load_module, train_example

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    return train_example(
        "seq2seq",
        tmp_path_factory.mktemp("reader"),
        max_steps=600,
        lr_scheduler_type="constant_with_warmup",
        eval_steps=200,
        save_strategy="no",
        num_eval=100,
        num_predict=50,
    )


def test_it_learns_to_split_names(done: Done) -> None:
    lines = [line for line in done.stdout.splitlines() if line.startswith("{'eval_exact_match'")]
    assert len(lines) == 4  # three on the way, and the last one
    first = float(ast.literal_eval(lines[0])["eval_exact_match"])
    assert done.read_results("eval")["eval_exact_match"] > first + 0.1


def test_it_writes_the_words_of_each_name(done: Done) -> None:
    rows = done.read_predictions()
    hits = [row["words"] == row["predicted"] for row in rows]
    assert len(rows) == 50
    assert sum(hits) / len(hits) == pytest.approx(done.read_results("predict")["predict_exact_match"])


def test_names_that_are_held_out_are_not_trained_on() -> None:
    identifiers = load_module("seq2seq", "identifiers")
    train, held_out = identifiers.read_identifiers(200)
    assert len(held_out["text"]) == 200
    assert not set(train["text"]) & set(held_out["text"])
    assert all(words.replace(" ", "") == text for text, words in zip(*held_out.values(), strict=True))


def test_its_tokenizer_gives_back_what_it_got() -> None:
    tokenizer = load_module("seq2seq", "identifiers").make_tokenizer()
    ids = tokenizer("get file name")["input_ids"]
    assert ids[-1] == tokenizer.eos_token_id
    assert tokenizer.decode(ids, skip_special_tokens=True) == "get file name"

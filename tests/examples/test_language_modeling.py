"""A small language model on Python's documentation, for fewer updates."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from scripts import Done, train_example

pytestmark = pytest.mark.slow

VOCABULARY = 500


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    folder = tmp_path_factory.mktemp("reader")
    return train_example(
        "language_modeling",
        folder,
        vocab_size=VOCABULARY,
        hidden_size=64,
        num_layers=1,
        block_size=64,
        max_steps=60,
        save_strategy="no",
        eval_strategy="no",
    )


def test_its_perplexity_is_far_below_that_of_guessing(done: Done) -> None:
    results = done.read_results("eval")
    assert results["perplexity"] == pytest.approx(math.exp(results["eval_loss"]))
    assert results["perplexity"] < VOCABULARY / 2


def test_it_prints_and_keeps_what_the_model_writes(done: Done) -> None:
    sample = (done.output / "sample.txt").read_text(encoding="utf-8")
    assert sample.startswith("The ")
    assert len(sample) > 40
    assert f"  | {sample.splitlines()[0]}" in done.stdout


def test_transformers_loads_the_model_and_its_tokenizer(done: Done) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(done.output)
    model = AutoModelForCausalLM.from_pretrained(done.output)
    text = "an unusual ☃, and\n  its body"
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    assert model.config.vocab_size == len(tokenizer) == VOCABULARY


def test_it_trains_gpt2_as_well(tmp_path: Path) -> None:
    small = {"hidden_size": 32, "num_layers": 1, "vocab_size": 300, "block_size": 32}
    done = train_example("language_modeling", tmp_path, model_type="gpt2", max_steps=3, **small)
    assert '"model_type": "gpt2"' in (done.output / "config.json").read_text()
    assert done.read_results("eval")["eval_loss"] > 0

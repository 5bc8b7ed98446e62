"""Names to learn from that every Python has: those in the source of its standard library."""

from __future__ import annotations

import random
import re
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

MOST_CHARACTERS = 20
_NOT_OURS = {"site-packages", "dist-packages", "test", "tests", "idlelib", "lib2to3"}
_NAME = re.compile(r"\b[A-Za-z_]{5,}\b")
_WORD_BOUNDARY = re.compile(r"_+|(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")

Columns = dict[str, list[str]]


def read_identifiers(num_held_out: int) -> tuple[Columns, Columns]:
    """Names of two words or more: ``getfilename`` in ``text`` and ``get file name`` in ``words``.

    No text comes twice, so the names that are held out are not among those that are trained on, though
    their words may be.

    Args:
        num_held_out: How many not to train on. They are the same ones in each run.

    Returns:
        The names to train on and those that are held out, in a random order.
    """
    folder = Path(sysconfig.get_paths()["stdlib"])
    files = (
        file
        for file in folder.rglob("*.py")
        if not _NOT_OURS.intersection(file.relative_to(folder).parts)
    )
    names = {name for file in files for name in _NAME.findall(file.read_text("utf-8", "replace"))}
    split = {words.replace(" ", ""): words for words in map(_split, sorted(names)) if words}
    pairs = sorted(split.items())
    random.Random(0).shuffle(pairs)
    return _as_columns(pairs[num_held_out:]), _as_columns(pairs[:num_held_out])


def make_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer whose tokens are the letters and the space."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    characters = ["<pad>", "</s>", "<unk>", " ", *map(chr, range(ord("a"), ord("z") + 1))]
    vocabulary = {character: number for number, character in enumerate(characters)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    tokenizer.decoder = decoders.Fuse()
    tokenizer.post_processor = processors.TemplateProcessing("$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )


def _split(name: str) -> str | None:
    """The words of a name with spaces between; None if it has one word only, or is unlike the others."""
    words = [word.lower() for word in _WORD_BOUNDARY.split(name.strip("_"))]
    is_plain = len(words) > 1 and all(len(word) > 1 for word in words)
    return " ".join(words) if is_plain and sum(map(len, words)) <= MOST_CHARACTERS else None


def _as_columns(pairs: list[tuple[str, str]]) -> Columns:
    return {"text": [text for text, _ in pairs], "words": [words for _, words in pairs]}

"""Text to learn from that every Python has, and a tokenizer made for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

TABLE = " " * 10
"""What only paragraphs with columns contain."""

END = "<|end|>"
"""The token that ends a text and fills up batches."""


def read_documentation(eval_share: float) -> tuple[str, str]:
    """The language reference behind ``help("topics")``: the text to train on and, of its end, to evaluate.

    Topics quote each other at length. A paragraph comes once, so what is evaluated was not trained on.

    Args:
        eval_share: The share to evaluate with, from 0 to 1.
    """
    from pydoc_data.topics import topics

    paragraphs = (paragraph for topic in topics.values() for paragraph in topic.split("\n\n"))
    prose = list(dict.fromkeys(paragraph for paragraph in paragraphs if TABLE not in paragraph))
    end = round(len(prose) * (1 - eval_share))
    return "\n\n".join(prose[:end]), "\n\n".join(prose[end:])


def train_tokenizer(text: str, vocab_size: int) -> PreTrainedTokenizerFast:
    """A tokenizer of pairs of bytes that are often side by side (BPE) in a text.

    Args:
        text: What to learn the pairs from.
        vocab_size: How many tokens it knows; 256 bytes and the end are among them.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(text.split("\n\n"), trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, pad_token=END)

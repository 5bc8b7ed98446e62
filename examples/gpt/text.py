"""Text to learn from that every Python has: the language reference behind ``help("topics")``."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.utils.data import Dataset

TABLE = " " * 10
"""What only paragraphs with columns contain."""


@dataclass(frozen=True)
class Vocabulary:
    """The characters of a text, numbered."""

    characters: tuple[str, ...]

    @classmethod
    def of(cls, text: str) -> Vocabulary:
        """The vocabulary with the characters of ``text``, in their usual order."""
        return cls(tuple(sorted(set(text))))

    def __len__(self) -> int:
        return len(self.characters)

    def encode(self, text: str) -> torch.Tensor:
        """The numbers of the characters: int64 of shape (length,)."""
        numbers = {character: number for number, character in enumerate(self.characters)}
        return torch.tensor([numbers[character] for character in text], dtype=torch.int64)

    def decode(self, ids: torch.Tensor) -> str:
        """The text of numbers of shape (length,)."""
        return "".join(self.characters[number] for number in ids.tolist())


class Blocks(Dataset[dict[str, torch.Tensor]]):
    """A text cut into blocks of one length.

    Each item has ``input_ids`` and ``labels``, both int64 of shape (block_size,): the labels are the
    characters that follow, so they are the same text one character on.
    """

    def __init__(self, ids: torch.Tensor, block_size: int) -> None:
        self.ids = ids
        self.block_size = block_size

    def __len__(self) -> int:
        return (len(self.ids) - 1) // self.block_size

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        start, end = index * self.block_size, (index + 1) * self.block_size
        return {"input_ids": self.ids[start:end], "labels": self.ids[start + 1 : end + 1]}


@dataclass(frozen=True)
class Data:
    """What there is to learn from, and what learning is measured with."""

    vocabulary: Vocabulary
    train: Blocks
    eval: Blocks


def load_data(block_size: int) -> Data:
    """The documentation as blocks; the last twentieth is for evaluation."""
    text = read_documentation()
    vocabulary = Vocabulary.of(text)
    ids = vocabulary.encode(text)
    end = len(ids) * 19 // 20
    return Data(vocabulary, Blocks(ids[:end], block_size), Blocks(ids[end:], block_size))


def read_documentation() -> str:
    """The topics one after the other: some 330,000 characters, without tables and repetitions.

    Topics quote each other at length: a paragraph that stood in the training text and in the
    evaluation text would be remembered, not predicted.
    """
    from pydoc_data.topics import topics

    paragraphs = (paragraph for topic in topics.values() for paragraph in topic.split("\n\n"))
    prose = (paragraph for paragraph in paragraphs if TABLE not in paragraph)
    return "\n\n".join(dict.fromkeys(prose))

"""Text that is installed anyway: the docstrings of Python libraries, read without importing them."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

LIBRARIES = ("matplotlib", "networkx", "pandas", "scipy", "sklearn", "sympy")
SPLITS = {"test": 2, "validation": 2, "train": 6}
"""The splits, and how many files of ten each gets."""

MOST_PER_FILE = 10
FEWEST_CHARACTERS = 100
_NAMES = re.compile(
    r"\b(matplotlib|mpl|plt|networkx|nx|pandas|pd|scipy|sklearn|scikit[- ]learn|sympy)\b", re.IGNORECASE
)
_END_OF_PROSE = re.compile(r"^(-{3,}|>>>|\.\. |:param|@)|::$", re.MULTILINE)

Columns = dict[str, list[str]]


def read_docstrings(num_per_library: int) -> dict[str, Columns]:
    """The splits by name, each with a column ``text`` and a column ``label``, the library.

    A source file is in one split only and no text comes twice, so nothing that is evaluated was seen in
    training. Each library has the same number of texts, if it has that many, and the libraries' names are
    blanked out.

    Args:
        num_per_library: Texts of each library in training. A third as many are in each other split.

    Raises:
        ModuleNotFoundError: One of the libraries is not installed.
    """
    seen: set[str] = set()
    splits: dict[str, Columns] = {split: {"text": [], "label": []} for split in SPLITS}
    for library in LIBRARIES:
        files = _list_files(library)
        for split, share in SPLITS.items():
            wanted = max(1, num_per_library * share // SPLITS["train"])
            texts = _take(wanted, [file for file in files if file.split == split], seen)
            splits[split]["text"] += texts
            splits[split]["label"] += [library] * len(texts)
    return splits


@dataclass(frozen=True)
class SourceFile:
    """A file of a library; its number looks random and is the same wherever the library is installed."""

    path: Path
    number: int

    @property
    def split(self) -> str:
        names = [split for split, share in SPLITS.items() for _ in range(share)]
        return names[self.number % len(names)]

    def texts(self) -> Iterator[str]:
        """What each docstring of a public function or class says before its first list or example."""
        for node in ast.walk(ast.parse(self.path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                text = _prose_of(ast.get_docstring(node) or "")
                if len(text) >= FEWEST_CHARACTERS:
                    yield text


def _prose_of(docstring: str) -> str:
    """The paragraphs before the first one with a heading, an example or a directive."""
    paragraphs = docstring.split("\n\n")
    prose = itertools.takewhile(lambda paragraph: not _END_OF_PROSE.search(paragraph), paragraphs)
    return " ".join(_NAMES.sub("...", " ".join(prose)).split())


def _list_files(library: str) -> list[SourceFile]:
    """The library's files without its tests, in the order of their numbers."""
    spec = importlib.util.find_spec(library)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"No module named {library!r}", name=library)
    folder = Path(spec.origin).parent
    names = {path: path.relative_to(folder.parent).as_posix() for path in folder.rglob("*.py")}
    files = (SourceFile(path, _hash(name)) for path, name in names.items() if "test" not in name)
    return sorted(files, key=lambda file: file.number)


def _hash(name: str) -> int:
    return int(hashlib.md5(name.encode(), usedforsecurity=False).hexdigest(), 16)


def _take(wanted: int, files: list[SourceFile], seen: set[str]) -> list[str]:
    """The first texts of the files that were not seen yet, some of each file."""
    taken: list[str] = []
    for file in files:
        fresh = [text for text in dict.fromkeys(file.texts()) if text not in seen][:MOST_PER_FILE]
        taken += fresh[: wanted - len(taken)]
        seen.update(fresh)
        if len(taken) == wanted:
            break
    return taken

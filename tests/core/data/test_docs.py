"""The page about data runs from top to bottom, and says what is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[3] / "docs" / "data.md"


def test_the_snippets_run_one_after_the_other(capsys: pytest.CaptureFixture[str]) -> None:
    snippets = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL)
    assert len(snippets) == 2
    space: dict[str, object] = {"__name__": "page"}
    for snippet in snippets:
        exec(compile(snippet, str(PAGE), "exec"), space)
    shapes = [
        tuple(map(int, shape)) for shape in re.findall(r"\((\d+), (\d+)\)", capsys.readouterr().out)
    ]
    assert len(shapes) == 25
    assert shapes[0] == (8, 37)
    assert len({width for _, width in shapes}) > 10

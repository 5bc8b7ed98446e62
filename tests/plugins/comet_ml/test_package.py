"""The snippets of the README run, the second after the first."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

README = Path(__file__).resolve().parents[3] / "plugins" / "comet-ml" / "README.md"


def test_the_snippets_of_the_readme_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    snippets = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    exec(compile("\n".join(snippets), str(README), "exec"), {"__name__": "snippets"})
    assert re.search(r"^8 train/loss [\d.]+$", capsys.readouterr().out, flags=re.MULTILINE)

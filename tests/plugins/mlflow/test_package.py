"""The snippets of the README run."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

README = Path(__file__).resolve().parents[3] / "plugins" / "mlflow" / "README.md"


def test_the_snippets_run_and_mlflow_does_not_talk(
    migrated: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    shutil.copy(migrated, tmp_path)
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", README.read_text(), flags=re.MULTILINE | re.DOTALL)
    exec(compile("\n".join(blocks), str(README), "exec"), {"__name__": "snippets"})
    printed = capfd.readouterr()
    *_, run, losses = printed.out.splitlines()
    assert run == "FINISHED 0.1"
    assert len(re.findall(r"\(\d+, ", losses)) == 24
    assert "mlflow." not in printed.err  # the name of any of its loggers

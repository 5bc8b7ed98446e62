"""The page about reporters runs from top to bottom, and names every reporter that there is."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from drivetrain_registry.catalogue import CATALOGUE
from drivetrain_registry.kinds import REPORTER

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "reporters.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.slow
def test_the_snippets_and_the_commands_run_one_after_the_other(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    space: dict[str, object] = {"__name__": "page"}
    for snippet in blocks("python"):
        exec(compile(snippet, "reporters.md", "exec"), space)
    assert "The reporter 'down' missed 5 logs, of the steps 5 to 20." in caplog.text
    assert "no such host" in capsys.readouterr().out
    assert list(Path("out/pictures/media").glob("*.png"))
    (commands,) = blocks("bash")
    for command in commands.splitlines():
        done = subprocess.run(
            [sys.executable, "-m", "drivetrain.cli", *command.split()[1:]],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    assert {"report.html", "report.png"} <= {path.name for path in Path().iterdir()}


def test_every_reporter_is_on_the_page_with_its_distribution() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| `(drivetrain-[\w-]+)` \|", PAGE, flags=re.MULTILINE))
    assert rows == {name: found for (kind, name), found in CATALOGUE.items() if kind == REPORTER}

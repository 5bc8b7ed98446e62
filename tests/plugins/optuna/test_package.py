"""The distribution: what is listed of it, and that its README's snippet runs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).resolve().parents[3] / "plugins" / "optuna" / "README.md"


def run(*command: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, cwd=folder, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_command_line_lists_it_with_its_options(tmp_path: Path) -> None:
    listed = run("-m", "drivetrain.cli", "plugins", "--kind", "searcher", folder=tmp_path)
    assert re.search(r"^searcher +optuna +drivetrain-optuna .* ok$", listed, flags=re.MULTILINE)
    page = run("-m", "drivetrain.cli", "plugins", "show", "optuna", folder=tmp_path)
    assert re.search(r"study_name +str \| None +None", page)
    assert 'Type: trainer.hyperparameter_search(backend="optuna")' in page


@pytest.mark.slow
def test_the_snippet_of_the_readme_searches_and_goes_on(tmp_path: Path) -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```", README.read_text(), flags=re.MULTILINE | re.DOTALL)
    code = code.replace("n_trials=10", "n_trials=2")
    first, second = run("-c", code, folder=tmp_path), run("-c", code, folder=tmp_path)
    assert "'width'" in first
    assert "'width'" in second
    folders = {path.name for path in (tmp_path / "search").glob("run-*")}
    assert folders == {"run-0", "run-1", "run-2", "run-3"}

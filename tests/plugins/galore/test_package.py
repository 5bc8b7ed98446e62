"""What is said of the distribution as a whole: a quiet import, and a README whose snippet runs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import drivetrain

README = Path(__file__).resolve().parents[3] / "plugins" / "galore" / "README.md"


@pytest.mark.slow
def test_importing_a_part_prints_nothing() -> None:
    code = "import logging, torch; logging.basicConfig(); import drivetrain_galore.layerwise"
    done = subprocess.run([sys.executable, "-W", "always", "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(drivetrain, "Trainer"), reason="the snippet needs the Trainer")
def test_the_snippet_of_the_readme_runs() -> None:
    (snippet,) = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    done = subprocess.run([sys.executable, "-c", snippet], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

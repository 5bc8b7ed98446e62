"""DagsHub's library moves python-dateutil: its cases run in an environment of their own, with DVCLive's."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from own_environment import own_environment, run_cases
from small import make_trainer

from drivetrain import UsageError

pytestmark = pytest.mark.slow


def test_all_cases_pass_beside_the_library() -> None:
    python = own_environment("dvc", "dvclive>=3.48", "dagshub>=0.7")
    run_cases(python, Path(__file__).with_name("cases_reporter.py"))


@pytest.mark.skipif(find_spec("dagshub") is not None, reason="dagshub is installed in this environment")
def test_without_the_library_the_name_resolves_and_says_what_to_type() -> None:
    with pytest.raises(UsageError, match="Type: pip install dagshub"):
        make_trainer(report_to="dagshub")
    shown = subprocess.run(
        [sys.executable, "-m", "drivetrain.cli", "plugins", "show", "dagshub"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "drivetrain-dagshub" in shown.stdout, shown.stderr

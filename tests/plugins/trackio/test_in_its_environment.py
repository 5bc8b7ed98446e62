"""Trackio moves Pillow: its cases run in an environment of their own."""

from __future__ import annotations

from pathlib import Path

import pytest
from own_environment import own_environment, run_cases

pytestmark = pytest.mark.slow


def test_all_cases_pass_beside_the_library() -> None:
    python = own_environment("trackio", "trackio>=0.43")
    run_cases(python, Path(__file__).with_name("cases_reporter.py"))

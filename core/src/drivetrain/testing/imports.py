"""What importing a plugin does, looked at in a process of its own, once for each distribution."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from drivetrain.testing.probe import Findings

_SECONDS = 300


@functools.cache
def find_effects_of_import(distribution: str) -> Findings:
    """List and load the plugins of a distribution in a fresh process, and say what that did.

    Raises:
        RuntimeError: The process ended without a report.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "findings.json")
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        done = subprocess.run(
            [sys.executable, "-m", "drivetrain.testing.probe", distribution, str(file)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
        )
        if not file.exists():
            raise RuntimeError(
                f"importing the plugins of {distribution} ended Python with status {done.returncode}: "
                f"{done.stderr.strip() or done.stdout.strip() or 'without a word'}"
            )
        return Findings(**json.loads(file.read_text(encoding="utf-8")))

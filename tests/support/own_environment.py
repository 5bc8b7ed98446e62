"""Environments for libraries that would move the pins of those that this repository is tested with.

Such a library gets a virtual environment beside the main one, in ``.venv/own``, whose path goes on
with the main one's: torch, pytest and drivetrain come from there, and pip, which sees them, installs just the
library and what it moves. Nothing in the main environment is touched.

The tests of the library are ordinary ones, in a module that the main run does not collect::

    # tests/plugins/x/test_in_its_environment.py
    def test_all_cases_pass_beside_the_library() -> None:
        run_cases(own_environment("x", "x>=1.0"), Path(__file__).with_name("cases_reporter.py"))
"""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Mapping
from pathlib import Path

import pytest
from filelock import FileLock

REPOSITORY = Path(__file__).resolve().parent.parent.parent
CONSTRAINTS = REPOSITORY / "constraints.txt"
OFFLINE_SIGNS = (
    "No matching distribution found",  # what pip says of any name if it reaches no index
    "Max retries exceeded",
    "Connection broken",
    "Read timed out",
)


@functools.cache
def own_environment(name: str, *requirements: str, with_dependencies: bool = True) -> Path:
    """The Python of an environment with these requirements, made where it is not there yet.

    Where pip reaches no index, the test is skipped. Two processes that ask for the same environment
    make it once.

    Args:
        name: Its folder in ``.venv/own``; those who ask for the same name ask for the same requirements.
        requirements: What pip gets, with lower bounds.
        with_dependencies: Install what these require. Without, as for a library that asks for a
            hundred others of which a test meets a dozen, the requirements name all that is needed.
    """
    asked = requirements if with_dependencies else ("--no-deps", *requirements)
    folder = REPOSITORY / ".venv" / "own" / name
    folder.parent.mkdir(parents=True, exist_ok=True)
    python = folder / "bin" / "python"
    stamp = folder / "made-of"
    constraints = CONSTRAINTS.read_text(encoding="utf-8")
    parts = (sys.version, sysconfig.get_path("purelib"), constraints, *asked)
    made_of = hashlib.sha256("\n".join(parts).encode()).hexdigest()
    with FileLock(folder.with_suffix(".lock")):
        if not stamp.exists() or stamp.read_text(encoding="utf-8") != made_of:
            shutil.rmtree(folder, ignore_errors=True)
            _make(folder)
            _install(python, *asked)
            stamp.write_text(made_of, encoding="utf-8")
    return python


def run_in(
    python: Path, *arguments: object, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the Python of an environment, apart from the pytest that this process is in."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    return subprocess.run(
        [python, *map(str, arguments)],
        cwd=cwd or REPOSITORY,
        env={**inherited, **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )


def run_cases(python: Path, *modules: Path, env: Mapping[str, str] | None = None) -> None:
    """Run test modules in an environment; fail with what pytest says there if one of them fails."""
    options = ("-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--rootdir", REPOSITORY)
    done = run_in(python, "-m", "pytest", *options, *modules, env=env)
    if done.returncode != 0:
        pytest.fail(f"{done.args}: {done.returncode}\n{done.stdout}\n{done.stderr}", pytrace=False)


def _make(folder: Path) -> None:
    """An empty environment; what it lacks is looked for in the main one."""
    venv.create(folder, with_pip=False, symlinks=True)
    own = folder / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    main = sysconfig.get_path("purelib")
    # `addsitedir`, not the bare path: the .pth files in there are what editable installs are found by.
    (own / "main.pth").write_text(f"import site; site.addsitedir({main!r})\n", encoding="utf-8")


def _install(python: Path, *asked: str) -> None:
    options = ("--quiet", "--no-input", "--no-compile", "--disable-pip-version-check")
    done = run_in(python, "-m", "pip", "install", *options, "-c", CONSTRAINTS, *asked)
    if done.returncode == 0:
        return
    said = f"{done.stdout}\n{done.stderr}".strip()
    if any(sign in said for sign in OFFLINE_SIGNS):
        pytest.skip(f"cannot be had here: {' '.join(asked)}: {said.splitlines()[-1]}")
    pytest.fail(f"pip does not install {' '.join(asked)}:\n{said}", pytrace=False)

"""A stranger writes a plugin: `contrib/template`, copied and renamed as its README says.

Outside this repository, in an environment of its own, with no change to registry or core.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from projects import REPOSITORY, read_project
from venvs import Venv

pytestmark = pytest.mark.slow


def read_blocks(readme: Path, language: str) -> list[str]:
    """The blocks of code of a language in a README."""
    text = readme.read_text(encoding="utf-8")
    blocks = re.findall(rf"^ *```{language}\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE)
    return [textwrap.dedent(block) for block in blocks]


def hash_files(*folders: Path) -> dict[Path, str]:
    """What the folders hold, but for what Python caches."""
    files = [file for folder in folders for file in folder.rglob("*") if file.is_file()]
    files = [file for file in files if "__pycache__" not in file.parts]
    return {file: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@pytest.fixture(scope="module")
def plugin_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template, copied and renamed by the first two blocks of commands in its README."""
    home = tmp_path_factory.mktemp("home")
    copy, rename, *_ = read_blocks(REPOSITORY / "contrib" / "template" / "README.md", "sh")
    environment = {**os.environ, "HOME": str(home)}
    ours = [REPOSITORY / "registry" / "src", REPOSITORY / "core" / "src"]
    before = hash_files(*ours)
    subprocess.run(["sh", "-e", "-c", copy + rename], cwd=REPOSITORY, env=environment, check=True)
    assert hash_files(*ours) == before
    return home / "drivetrain-acme"


@pytest.fixture(scope="module")
def wheel(plugin_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stranger's wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    build = ["wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "-w", str(folder)]
    subprocess.run([sys.executable, "-m", "pip", *build, str(plugin_folder)], check=True)
    return folder / read_project(plugin_folder).wheel


@pytest.fixture(scope="module")
def venv(fresh_venv: Callable[[], Venv], wheel: Path) -> Venv:
    """An environment with drivetrain and the stranger's plugin."""
    made = fresh_venv()
    made.install(wheel)
    return made


def test_the_renamed_copy_has_no_trace_of_the_template(plugin_folder: Path) -> None:
    project = read_project(plugin_folder)
    assert (project.name, project.package) == ("drivetrain-acme", "drivetrain_acme")
    code = [
        file for file in plugin_folder.rglob("*") if file.suffix in {".py", ".toml", ".typed", ".bak"}
    ]
    assert sorted(file.name for file in code) == [
        "__init__.py",
        "optimizer.py",
        "py.typed",
        "pyproject.toml",
        "test_acme.py",
    ]
    assert not [file for file in code if "template" in file.read_text(encoding="utf-8").lower()]


def test_its_own_tests_pass(venv: Venv, plugin_folder: Path) -> None:
    done = venv.run(
        "python", "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", cwd=plugin_folder
    )
    assert re.search(r"^=+ \d+ passed in ", done.stdout, re.MULTILINE)


def test_what_its_readme_shows_runs(venv: Venv, plugin_folder: Path, tmp_path: Path) -> None:
    (snippet,) = read_blocks(plugin_folder / "README.md", "python")
    assert "acme_lion" in snippet
    assert not venv.run("python", "-c", snippet, cwd=tmp_path).stderr


def test_the_command_line_lists_it_with_distribution_and_version(venv: Venv) -> None:
    listed = venv.run("drivetrain", "plugins")
    line = next(line for line in listed.stdout.splitlines() if "acme_lion" in line)
    assert "drivetrain-acme" in line
    assert "0.1.0" in line
    rows = json.loads(venv.run("drivetrain", "plugins", "--json").stdout)
    (row,) = (row for row in rows if row["name"] == "acme_lion")
    assert row["distribution"] == "drivetrain-acme"
    assert (row["kind"], row["version"], row["state"]) == ("optimizer", "0.1.0", "ok")


def test_it_trains_by_its_string_and_is_missed_once_it_is_gone(
    venv: Venv, wheel: Path, training_script: Path, tmp_path: Path
) -> None:
    ours = [
        venv.site_packages / name for name in ("drivetrain_registry", "drivetrain", "drivetrain_torch")
    ]
    before = hash_files(*ours)

    trained = venv.run("python", training_script, "--optim", "acme_lion", cwd=tmp_path)
    result = json.loads(trained.stdout.splitlines()[-1])
    assert result["optimizer"] == "drivetrain_acme.optimizer.Lion"
    assert result["losses"] == sorted(result["losses"], reverse=True)
    assert result["losses"][-1] < 0.5 * result["losses"][0]

    venv.pip("uninstall", "--yes", "drivetrain-acme")
    refused = venv.run("python", training_script, "--optim", "acme_lion", cwd=tmp_path, fails=True)
    assert "model built" not in refused.stdout
    assert "UnknownNameError: `optim`: 'acme_lion' is not installed." in refused.stderr
    assert "Installed: adafactor, adagrad, adamw_anyprecision, adamw_torch, " in refused.stderr
    assert "acme_lion" not in venv.run("drivetrain", "plugins").stdout

    venv.install(wheel)
    assert "acme_lion" in venv.run("drivetrain", "plugins").stdout
    assert hash_files(*ours) == before

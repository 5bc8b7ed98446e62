"""The catalogue says what this repository's plugins provide, and the registry needs nothing but Python."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from drivetrain_registry import KINDS, errors
from drivetrain_registry.catalogue import CATALOGUE

REPOSITORY = Path(__file__).resolve().parents[2]
KIND_OF_GROUP = {kind.group: kind for kind in KINDS}


def read_toml(path: Path) -> dict[str, Any]:
    tomllib = pytest.importorskip("tomllib", reason="Python 3.11 has it")
    return dict(tomllib.loads(path.read_text(encoding="utf-8")))


def test_the_catalogue_agrees_with_the_plugins_of_this_repository() -> None:
    offered = {}
    paths = [*REPOSITORY.glob("plugins/*/pyproject.toml"), *REPOSITORY.glob("contrib/*/pyproject.toml")]
    for path in paths:
        if path.parent.name == "template":
            continue
        project = read_toml(path)["project"]
        for group, names in project.get("entry-points", {}).items():
            for name in names:
                offered[KIND_OF_GROUP[group].name, name] = project["name"]
    assert {(kind.name, name): d for (kind, name), d in CATALOGUE.items()} == offered


def test_the_registry_requires_nothing() -> None:
    project = read_toml(REPOSITORY / "registry" / "pyproject.toml")["project"]
    assert project["dependencies"] == []


def test_importing_the_registry_imports_python_alone() -> None:
    code = (
        "import sys; before = set(sys.modules); import drivetrain_registry; drivetrain_registry.discover();"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before};"
        "print(new - set(sys.stdlib_module_names) - {'drivetrain_registry'})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_snippet_of_the_readme_runs(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (REPOSITORY / "registry" / "README.md").read_text(encoding="utf-8")
    exec(text.split("```python\n")[1].split("```")[0], {})
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["[]", "<class 'object'>"]
    assert lines[2].startswith("`optim`: 'mien' is not installed. Did you mean 'mine'?")


def test_the_readme_names_every_error() -> None:
    text = (REPOSITORY / "registry" / "README.md").read_text(encoding="utf-8")
    for name, value in vars(errors).items():
        if isinstance(value, type):
            assert f"`{name}`" in text


def test_names_without_a_plugin_are_published_and_in_no_distribution_of_ours() -> None:
    from drivetrain_registry.catalogue import WITHOUT_A_PLUGIN

    assert not set(WITHOUT_A_PLUGIN) & set(CATALOGUE)

"""The tools' settings know every plugin: a new folder cannot be left out of what they check."""

from __future__ import annotations

import pytest
from projects import REPOSITORY, Project, find_projects, read_toml

SETTINGS = read_toml(REPOSITORY / "pyproject.toml")["tool"]
PACKAGED = [project for project in find_projects() if project.package]
PLUGINS = [
    project
    for project in PACKAGED
    if project.folder.parent.name in ("plugins", "contrib") and project.folder.name != "template"
]
each_plugin = pytest.mark.parametrize("plugin", PLUGINS, ids=lambda plugin: plugin.name)


@pytest.mark.parametrize("project", PACKAGED, ids=lambda project: project.name)
def test_folder_distribution_and_package_are_called_alike(project: Project) -> None:
    assert project.package is not None
    if project.name != "drivetrain-core":
        assert project.name == f"drivetrain-{project.folder.name}"
        assert project.package == project.name.replace("-", "_")


@each_plugin
def test_the_direction_of_its_imports_is_checked(plugin: Project) -> None:
    rules = SETTINGS["importlinter"]
    layers, _, public = rules["contracts"]
    assert plugin.package in rules["root_packages"]
    above_core = layers["layers"][: layers["layers"].index("drivetrain")]
    assert plugin.package in [name for layer in above_core for name in layer.split(" | ")]
    assert plugin.package in public["source_modules"]


@each_plugin
def test_its_types_and_coverage_are_checked(plugin: Project) -> None:
    assert f"{plugin.folder.parent.name}/{plugin.folder.name}/src" in SETTINGS["mypy"]["mypy_path"]
    assert plugin.package in SETTINGS["coverage"]["run"]["source_pkgs"]


@each_plugin
def test_its_packaging_file_is_packaging_alone_and_short(plugin: Project) -> None:
    lines = (plugin.folder / "pyproject.toml").read_text(encoding="utf-8").splitlines()
    assert (
        len([line for line in lines if f'"{plugin.package}.' not in line]) < 35
    )  # but for entry points
    assert list(read_toml(plugin.folder / "pyproject.toml")["tool"]) == ["hatch"]


def test_only_contrib_and_plugins_offer_parts() -> None:
    for project in PACKAGED:
        if project.folder.parent == REPOSITORY:
            assert "entry-points" not in read_toml(project.folder / "pyproject.toml")["project"]

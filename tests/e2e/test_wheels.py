"""What is in the wheels, and what their metadata asks for."""

from __future__ import annotations

from email.message import Message
from email.parser import Parser
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement
from projects import Project, find_projects
from venvs import Venv

pytestmark = pytest.mark.slow

PROJECTS = find_projects()
each_project = pytest.mark.parametrize("project", PROJECTS, ids=lambda project: project.name)


def list_files(project: Project, wheelhouse: Path) -> set[str]:
    with ZipFile(wheelhouse / project.wheel) as wheel:
        return set(wheel.namelist())


def read_metadata(project: Project, wheelhouse: Path) -> Message:
    info = f"{project.name.replace('-', '_')}-{project.version}.dist-info"
    with ZipFile(wheelhouse / project.wheel) as wheel:
        return Parser().parsestr(wheel.read(f"{info}/METADATA").decode())


def read_requirements(project: Project, wheelhouse: Path) -> list[Requirement]:
    return [
        Requirement(line) for line in read_metadata(project, wheelhouse).get_all("Requires-Dist", [])
    ]


@each_project
def test_a_wheel_holds_its_one_package_with_types(project: Project, wheelhouse: Path) -> None:
    files = {file for file in list_files(project, wheelhouse) if ".dist-info/" not in file}
    if project.package is None:
        assert not files
    else:
        assert {file.split("/")[0] for file in files} == {project.package}
        assert f"{project.package}/py.typed" in files


@each_project
def test_a_wheel_says_licence_python_and_what_it_is(project: Project, wheelhouse: Path) -> None:
    metadata = read_metadata(project, wheelhouse)
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.10"
    assert metadata["Summary"]
    assert any(file.endswith("licenses/LICENSE") for file in list_files(project, wheelhouse))


@each_project
def test_every_requirement_has_a_lower_bound(project: Project, wheelhouse: Path) -> None:
    unbounded = [
        str(requirement)
        for requirement in read_requirements(project, wheelhouse)
        if not requirement.extras
        and not any(s.operator in (">=", "~=", "==") for s in requirement.specifier)
    ]
    assert not unbounded


@each_project
def test_what_it_requires_of_ours_is_there_in_that_version(project: Project, wheelhouse: Path) -> None:
    versions = {other.name: other.version for other in PROJECTS}
    for requirement in read_requirements(project, wheelhouse):
        if requirement.name.startswith("drivetrain"):
            assert requirement.specifier.contains(versions[requirement.name])


def test_galore_asks_for_core_and_for_its_library(wheelhouse: Path) -> None:
    galore = next(project for project in PROJECTS if project.name == "drivetrain-galore")
    names = {requirement.name for requirement in read_requirements(galore, wheelhouse)}
    assert {"drivetrain-core", "galore-torch"} <= names


def test_core_asks_for_no_plugin(wheelhouse: Path) -> None:
    core = next(project for project in PROJECTS if project.name == "drivetrain-core")
    ours = {r.name for r in read_requirements(core, wheelhouse) if r.name.startswith("drivetrain")}
    assert ours == {"drivetrain-registry"}


def test_the_registry_works_with_nothing_else_installed(bare_venv: Venv) -> None:
    bare_venv.install("drivetrain-registry")
    done = bare_venv.run(
        "python", "-c", "from drivetrain_registry import Registry; print(Registry().entries())"
    )
    assert (done.stdout, done.stderr) == ("()\n", "")

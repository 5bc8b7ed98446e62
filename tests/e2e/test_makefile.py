"""What `make` would do, without doing it."""

from __future__ import annotations

import os
import re
import subprocess

import pytest
from projects import REPOSITORY, find_projects


def plan(*arguments: str) -> str:
    """The commands that make would run in a fresh clone."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(
        ["make", "--dry-run", "--always-make", *arguments],
        cwd=REPOSITORY,
        env=inherited,
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_the_demo_gets_the_names_that_were_chosen() -> None:
    assert "demo.py --optim adamw_torch  --report-to tensorboard" in plan("demo")
    demo = "examples/gpt/demo.py --optim {} --scheduler {} --report-to {}"
    chosen = plan("demo", "OPTIM=muon", "SCHEDULER=linear", "REPORT_TO=none", "ARGS=--seed 3")
    assert demo.format("muon", "linear", "none --seed 3") in chosen


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("galore_adafactor_layerwise", "plugins/galore"),
        ("drivetrain-galore:galore_adamw", "plugins/galore"),
        ("adamw_8bit", "plugins/bitsandbytes"),
        ("stable_adamw", "contrib/optimi"),
        ("po_soap", "contrib/pytorch-optimizer"),
    ],
)
def test_the_demo_installs_the_plugin_whose_name_is_chosen(name: str, folder: str) -> None:
    installed = re.findall(r"-e \./(\S+)", plan("demo", f"OPTIM={name}"))
    assert folder in installed
    assert [other for other in installed if other.startswith("contrib/")] in ([], [folder])


def test_the_demo_installs_no_test_tools_and_no_plugin_that_is_not_asked_for() -> None:
    commands = plan("demo")
    assert "galore" not in commands
    assert "contrib" not in commands
    assert "requirements/test.txt" not in commands


def test_torch_comes_first_and_everything_is_constrained() -> None:
    installs = re.findall(r"pip .*\binstall\b.*", plan("test", "lint", "demo"))
    assert installs[0].endswith(" torch")
    assert all("-c constraints.txt" in install for install in installs)
    assert not [install for install in installs if "template" in install]


def test_wheels_are_built_of_every_distribution() -> None:
    (build,) = re.findall(r"pip .*\bwheel\b.*", plan("wheels"))
    folders = {(REPOSITORY / folder).resolve() for folder in re.findall(r"\./\S+", build)}
    assert folders == {project.folder for project in find_projects()}


def test_ci_runs_nothing_but_make() -> None:
    lines = (REPOSITORY / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line.startswith("make")] == ["make lint", "make test"]

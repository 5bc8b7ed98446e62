"""The command and families: one line in a list, and all names on a page."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable

import pytest

Install = Callable[..., None]
Run = Callable[..., subprocess.CompletedProcess[str]]

ZOO = """
from drivetrain.plugin import OptimizerPlugin
from dataclasses import dataclass

@dataclass(frozen=True)
class LionOptions:
    betas: tuple[float, float] = (0.9, 0.99)

class Lion(OptimizerPlugin):
    \"\"\"Sign of the momentum
    (arXiv:2302.06675). Shown up to here.
    \"\"\"

    Options = LionOptions

    def build(self):
        raise NotImplementedError

class Plain(OptimizerPlugin):
    def build(self):
        raise NotImplementedError

PARTS = {"zoo_lion": Lion, "zoo_tiger": Plain}
def names(): return list(PARTS)
def find(name): return PARTS[name]
"""


def install_zoo(install: Install, source: str = ZOO, name: str = "zoo") -> None:
    module = name.replace("-", "_")
    install(
        name, source=source + f"\nimport sys\nFAMILY = sys.modules[{module!r}]\n", **{"zoo_*": "FAMILY"}
    )


def test_a_family_is_one_line_of_the_list(install: Install, run: Run) -> None:
    install_zoo(install, "raise RuntimeError('imported')")
    done = run("plugins")
    assert done.stdout.splitlines()[1:] == [
        "optimizer  zoo_*  zoo           1.0      ok",
        "",
        "1 name in 1 distribution: 1 ok.",
        "zoo_* stands for many names: `drivetrain plugins show 'zoo_*'` lists them.",
        "`drivetrain plugins show NAME` prints its options; `drivetrain doctor` loads each of them.",
    ]
    assert (done.returncode, done.stderr) == (0, "")


def test_the_page_of_a_family_lists_its_names(install: Install, run: Run) -> None:
    install_zoo(install)
    expected = [
        "optimizers zoo_*: 2 names",
        "  from      zoo 1.0",
        "  code      zoo:FAMILY",
        "",
        "NAME",
        "zoo_lion   Sign of the momentum (arXiv:2302.06675)",
        "zoo_tiger",
        "",
        "`drivetrain plugins show NAME` prints the options of one.",
    ]
    for name in ("zoo_*", "zoo:zoo_*"):
        done = run("plugins", "show", name)
        assert (done.stdout.splitlines(), done.returncode, done.stderr) == (expected, 0, "")


def test_json_has_the_same(install: Install, run: Run) -> None:
    install_zoo(install)
    (page,) = json.loads(run("plugins", "show", "zoo_*", "--json").stdout)
    assert page == {
        "kind": "optimizer",
        "name": "zoo_*",
        "distribution": "zoo",
        "version": "1.0",
        "code": "zoo:FAMILY",
        "members": {
            "zoo_lion": "Sign of the momentum (arXiv:2302.06675). Shown up to here.",
            "zoo_tiger": "",
        },
    }


def test_a_name_of_a_family_has_a_page(install: Install, run: Run) -> None:
    install_zoo(install)
    for name in ("zoo_lion", "zoo:zoo_lion"):
        done = run("plugins", "show", name)
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[0] == "optimizer zoo_lion"
        assert "betas" in done.stdout


def test_a_name_that_it_does_not_have_is_an_error(install: Install, run: Run) -> None:
    install_zoo(install)
    done = run("plugins", "show", "zoo_lio")
    assert (done.returncode, done.stdout) == (2, "")
    assert "Did you mean 'zoo_lion'?" in done.stderr
    done = run("plugins", "show", "zooo_*")
    assert (done.returncode, done.stdout) == (2, "")
    assert "`optim`: 'zooo_*' is not installed. Did you mean 'zoo_*'" in done.stderr


def test_doctor_loads_every_name_of_a_family(install: Install, run: Run) -> None:
    install_zoo(install)
    done = run("doctor")
    assert done.returncode == 0
    assert "    a family of 2 names, all of which load" in done.stdout.splitlines()
    (plugin,) = json.loads(run("doctor", "--json").stdout)["plugins"]
    assert (plugin["name"], plugin["state"], plugin["num_names"]) == ("zoo_*", "ok", 2)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (f"{ZOO}\nPARTS['zoo_mouse'] = 3", "zoo_mouse: leads to 3, which is no optimizer"),
        (f"{ZOO}\nPARTS.clear()", "is a family without a name in it"),
        (f"{ZOO}\ndel find", "which is no family of names"),
        (f"{ZOO}\ndef names(): return ['zoo_mouse']", "'zoo_mouse' is none of the 1 optimizers"),
    ],
)
def test_doctor_says_what_is_wrong_with_one(install: Install, run: Run, source: str, said: str) -> None:
    install_zoo(install, source)
    done = run("doctor")
    assert done.returncode == 1
    assert said.removeprefix("'zoo_mouse' ") in done.stdout


def test_two_families_of_one_beginning_are_a_conflict(install: Install, run: Run) -> None:
    install_zoo(install)
    install_zoo(install, name="rival")
    done = run("plugins")
    expected = "conflict: zoo_* of rival 1.0. zoo 1.0 claims the same name. Type optim='rival:zoo_...'"
    assert expected in done.stdout

"""`drivetrain plugins`: the list, made from metadata alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.abc import MetaPathFinder
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

import pytest

from drivetrain.cli import states

Install = Callable[..., None]
Run = Callable[..., subprocess.CompletedProcess[str]]


def list_as_json(run: Run, *args: str) -> list[dict[str, str]]:
    done = run("plugins", "--json", *args)
    assert (done.returncode, done.stderr) == (0, "")
    return list(json.loads(done.stdout))


def test_the_table_has_a_line_for_each_name(install: Install, run: Run) -> None:
    install("drivetrain-lion", lion="Lion", tiger="Plain")
    install("acme", "2.10", group="drivetrain.reporters", lines="Lines")
    done = run("plugins")
    assert done.stdout.splitlines() == [
        "KIND       NAME   DISTRIBUTION     VERSION  STATE",
        "optimizer  lion   drivetrain-lion  1.0      ok",
        "optimizer  tiger  drivetrain-lion  1.0      ok",
        "reporter   lines  acme             2.10     ok",
        "",
        "3 names in 2 distributions: 3 ok.",
        "`drivetrain plugins show NAME` prints its options; `drivetrain doctor` loads each of them.",
    ]
    assert (done.returncode, done.stderr) == (0, "")


def test_json_has_the_same(install: Install, run: Run) -> None:
    install("drivetrain-lion", lion="Lion")
    assert list_as_json(run) == [
        {
            "kind": "optimizer",
            "name": "lion",
            "distribution": "drivetrain-lion",
            "version": "1.0",
            "state": "ok",
            "detail": "",
        }
    ]


def test_one_kind_can_be_asked_for(install: Install, run: Run) -> None:
    install("drivetrain-lion", lion="Lion")
    install("acme", group="drivetrain.reporters", lines="Lines")
    assert [plugin["name"] for plugin in list_as_json(run, "--kind", "reporter")] == ["lines"]
    assert "1 name in 1 distribution: 1 ok." in run("plugins", "--kind", "optimizer").stdout


def test_an_empty_installation_says_what_to_type(run: Run) -> None:
    done = run("plugins")
    assert done.stdout == "No plugins are installed. Type: pip install drivetrain-torch\n"
    assert done.returncode == 0
    assert list_as_json(run) == []
    expected = "No plugin of the kind reporter is installed. Type: pip install drivetrain-torch\n"
    assert run("plugins", "--kind", "reporter").stdout == expected
    expected = "No plugin of the kind searcher is installed. Type: pip install drivetrain-optuna\n"
    assert run("plugins", "--kind", "searcher").stdout == expected


# -- states ---------------------------------------------------------------------------------------


def test_a_name_that_two_distributions_claim_is_a_conflict(install: Install, run: Run) -> None:
    install("drivetrain-lion", "1.0", lion="Lion")
    install("acme", "2.0", lion="Lion", tiger="Lion")
    assert [(p["name"], p["distribution"], p["state"], p["detail"]) for p in list_as_json(run)] == [
        ("lion", "acme", "conflict",
         "drivetrain-lion 1.0 claims the same name. Type optim='acme:lion' for this one."),
        ("lion", "drivetrain-lion", "conflict",
         "acme 2.0 claims the same name. Type optim='drivetrain-lion:lion' for this one."),
        ("tiger", "acme", "ok", ""),
    ]  # fmt: skip
    lines = run("plugins").stdout.splitlines()
    assert "3 names in 2 distributions: 2 conflict, 1 ok." in lines
    expected = (
        "conflict: lion of acme 2.0. drivetrain-lion 1.0 claims the same name. Type optim='acme:lion'"
    )
    assert f"{expected} for this one." in lines


def test_a_conflict_is_shown_where_one_kind_is_asked_for(install: Install, run: Run) -> None:
    install("one", lion="Lion")
    install("two", lion="Lion")
    assert {p["state"] for p in list_as_json(run, "--kind", "optimizer")} == {"conflict"}


def test_a_missing_library_comes_with_its_pip_line(install: Install, run: Run) -> None:
    install("drivetrain-lion", requires=["lion-lib>=1.0", "acme"], lion="Lion", tiger="Lion")
    install("acme", other="Lion")
    states_by_name = {p["name"]: (p["state"], p["detail"]) for p in list_as_json(run)}
    expected = ("library missing", 'It needs lion-lib. Type: pip install "lion-lib>=1.0"')
    assert states_by_name == {"lion": expected, "tiger": expected, "other": ("ok", "")}
    line = (
        'library missing: lion, tiger of drivetrain-lion 1.0. It needs lion-lib. Type: pip install "lion'
    )
    assert run("plugins").stdout.count(line) == 1


@pytest.mark.parametrize(
    "value", ["nowhere:Part", "acme.deeper:Part", "pkg.nowhere:Part", "pkg.file.x:Part"]
)
def test_a_missing_module_is_found_without_an_import(
    install: Install, site: Path, run: Run, value: str
) -> None:
    make_package(site)
    install("acme", lion=value)
    (plugin,) = list_as_json(run)
    module = value.partition(":")[0]
    assert plugin["state"] == "module missing"
    expected = f"There is no module {module!r}. Type: pip install --force-reinstall acme"
    assert plugin["detail"] == expected


def test_an_entry_point_that_names_no_module_says_so(install: Install, run: Run) -> None:
    install("acme", lion="no module:x")
    (plugin,) = list_as_json(run)
    assert plugin["state"] == "module missing"
    assert plugin["detail"].startswith(
        "Its entry point is 'no module:x', which is no 'module:attribute'."
    )


@pytest.mark.parametrize(
    "value", ["acme:Part", "pkg:Part", "pkg.file:Part", "pkg.sub:Part", "space.file:Part"]
)
def test_a_module_is_found_wherever_it_is(install: Install, site: Path, run: Run, value: str) -> None:
    make_package(site)
    (site / "space").mkdir()
    (site / "space" / "file.py").write_text(RAISES)
    install("acme", lion=value, source=RAISES)
    assert [plugin["state"] for plugin in list_as_json(run)] == ["ok"]


RAISES = "raise RuntimeError('imported')"


def make_package(site: Path) -> None:
    """A package of which no file can be imported."""
    (site / "pkg" / "sub").mkdir(parents=True)
    for file in ("__init__.py", "file.py", "sub/__init__.py"):
        (site / "pkg" / file).write_text(RAISES)


def test_a_module_that_an_import_hook_provides_is_found(tmp_path: Path) -> None:
    """As editable installs of setuptools do."""
    (tmp_path / "hooked").mkdir()
    (tmp_path / "hooked" / "__init__.py").write_text(RAISES)
    (tmp_path / "hooked" / "part.py").write_text(RAISES)

    class Hook(MetaPathFinder):
        def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
            return PathFinder.find_spec(name, [str(tmp_path)]) if name == "hooked" else None

    hook = Hook()
    sys.meta_path.append(hook)
    try:
        assert states.has_module("hooked.part")
        assert not states.has_module("hooked.other")
    finally:
        sys.meta_path.remove(hook)


def test_a_distribution_that_is_installed_twice_is_pointed_out(
    install: Install, site: Path, tmp_path: Path, environment: dict[str, str], run: Run
) -> None:
    second = tmp_path / "second"
    second.mkdir()
    install("acme", "2.0", lion="Lion")
    install("acme", "1.0", lion="Lion", folder=second)
    environment["PYTHONPATH"] += os.pathsep + str(second)
    expected = (
        f"acme is installed twice: 2.0 in {site} is used, 1.0 in {second} is not. "
        "Type: pip uninstall acme, and install it once."
    )
    lines = run("plugins").stdout.splitlines()
    assert expected in lines
    assert "1 name in 1 distribution: 1 ok." in lines


# -- what it does not do --------------------------------------------------------------------------


def test_no_plugin_is_imported(install: Install, run: Run, tmp_path: Path) -> None:
    mark = tmp_path / "imported"
    install("acme", source=f"open({str(mark)!r}, 'w')", lion="Lion")
    assert run("plugins").returncode == 0
    assert not mark.exists()


@pytest.mark.parametrize(
    "code",
    [
        "import drivetrain",
        "import drivetrain.plugin",
        "from drivetrain.cli import main; main(['plugins'])",
        "from drivetrain.cli import main; main(['plugins', '--json'])",
        "from drivetrain.cli import main; main(['--version'])",
    ],
)
def test_torch_is_not_imported(code: str) -> None:
    check = "import sys; bad = {'torch', 'numpy', 'drivetrain_torch'} & set(sys.modules); assert not bad, bad"
    done = subprocess.run([sys.executable, "-c", f"{code}\n{check}"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_listing_imports_neither_plugins_nor_pluggy() -> None:
    command = [sys.executable, "-X", "importtime", "-m", "drivetrain.cli", "plugins"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "drivetrain_registry" in imported
    ours = {name for name in imported if name.startswith("drivetrain")}
    assert ours == {"drivetrain", "drivetrain_registry"}
    assert not imported & {"torch", "numpy", "pluggy", "tqdm", "safetensors"}


# -- in this repository ---------------------------------------------------------------------------


def test_the_plugins_of_this_repository_are_listed_and_there() -> None:
    script = Path(sys.executable).with_name("drivetrain")
    done = subprocess.run([script, "plugins", "--json"], capture_output=True, text=True, check=True)
    plugins = {(p["kind"], p["name"]): p for p in json.loads(done.stdout)}
    adamw = plugins["optimizer", "adamw_torch"]
    assert (adamw["distribution"], adamw["state"]) == ("drivetrain-torch", "ok")
    ours = [
        p
        for p in plugins.values()
        if p["distribution"] in ("drivetrain-torch", "drivetrain-tensorboard")
    ]
    assert [p["detail"] for p in ours if p["state"] != "ok"] == []

"""From an entry to its part: one import, and an error for each thing that can be wrong with it."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from drivetrain_registry import (
    BrokenPluginError,
    IncompatiblePluginError,
    MissingLibraryError,
    Registry,
)

Install = Callable[..., Path]

REINSTALL = (
    "Type: pip install --upgrade --force-reinstall drivetrain-lion; "
    "if that does not help, tell its authors, or choose another optimizer."
)


def says(text: str) -> str:
    """A pattern for the whole message."""
    return f"^{re.escape(text)}$"


def test_loading_returns_the_part_with_its_entry(install: Install, registry: Registry) -> None:
    install("drivetrain-lion", lion="Part")
    resolved = registry.load("optimizer", "lion")
    assert resolved.part is sys.modules["drivetrain_lion"].Part
    assert resolved.name == "lion"
    assert resolved.entry is not None
    assert resolved.title == "'lion' (drivetrain-lion 1.0)"


def test_loading_one_name_imports_that_plugin_and_no_other(install: Install, registry: Registry) -> None:
    install("good", good="Part")
    install("other", other="Part")
    install("bad", source="raise RuntimeError('imported')", bad="Part")
    registry.load("optimizer", "good")
    assert "good" in sys.modules
    assert not {"other", "bad"} & set(sys.modules)


def test_a_part_is_imported_once(install: Install, registry: Registry) -> None:
    install("acme", lion="Part")
    assert registry.load("optimizer", "lion").part is registry.load("optimizer", "acme:lion").part


def test_an_entry_may_lead_to_a_module_or_into_a_class(install: Install, registry: Registry) -> None:
    source = "class Outer:\n    class Inner: ...\n"
    groups = {
        "drivetrain.plugins": {"whole": "acme", "inner": "acme:Outer.Inner", "old": "acme:Outer [x]"}
    }
    install("acme", source=source, groups=groups)
    module = registry.load("plugin", "whole").part
    assert module is sys.modules["acme"]
    assert registry.load("plugin", "inner").part is sys.modules["acme"].Outer.Inner
    assert registry.load("plugin", "old").part is sys.modules["acme"].Outer


# -- broken ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("raise RuntimeError('no licence found')", "RuntimeError: no licence found"),
        ("raise RuntimeError('first line\\nsecond line')", "RuntimeError: first line"),
        ("raise RuntimeError", "RuntimeError"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        (
            "raise AttributeError('module numpy has no attribute bool')",
            "AttributeError: module numpy has no",
        ),
        ("class Odd(BaseException): ...\nraise Odd('odd')", "Odd: odd"),
        ("assert False, 'why'", "AssertionError: why"),
        ("def broken(:", "SyntaxError: "),
        ("import acme_missing", "ModuleNotFoundError: No module named 'acme_missing'"),
        ("from os import nothing", "ImportError: cannot import name 'nothing' from 'os'"),
        ("import warnings; warnings.warn('old')", "UserWarning: old"),
    ],
)
def test_whatever_an_import_raises_is_said_in_the_name_of_the_plugin(
    install: Install, registry: Registry, source: str, shown: str
) -> None:
    install("drivetrain-lion", source=source, lion="Part")
    with pytest.raises(BrokenPluginError) as caught:
        registry.load("optimizer", "lion")
    assert type(caught.value) is BrokenPluginError
    message = str(caught.value)
    assert message.startswith(
        "`optim`: 'lion' is provided by drivetrain-lion 1.0, which is broken: "
        f"importing 'drivetrain_lion:Part' raised {shown}"
    )
    assert message.endswith(REINSTALL)
    assert caught.value.__cause__ is not None


def test_the_whole_message_about_a_broken_plugin(install: Install, registry: Registry) -> None:
    install("drivetrain-lion", source="raise OSError('libcuda.so is missing.')", lion="Part")
    expected = (
        "`optim`: 'lion' is provided by drivetrain-lion 1.0, which is broken: importing "
        f"'drivetrain_lion:Part' raised OSError: libcuda.so is missing. {REINSTALL}"
    )
    with pytest.raises(BrokenPluginError, match=says(expected)):
        registry.load("optimizer", "lion")


def test_ctrl_c_while_a_plugin_is_imported_ends_the_run(install: Install, registry: Registry) -> None:
    install("acme", source="raise KeyboardInterrupt", lion="Part")
    with pytest.raises(KeyboardInterrupt):
        registry.load("optimizer", "lion")


def test_a_module_that_is_not_there_is_a_broken_plugin(install: Install, registry: Registry) -> None:
    install("drivetrain-lion", lion="drivetrain_lino:Part")
    expected = (
        "importing 'drivetrain_lino:Part' raised ModuleNotFoundError: No module named 'drivetrain_lino'"
    )
    with pytest.raises(BrokenPluginError, match=re.escape(expected)):
        registry.load("optimizer", "lion")


def test_an_attribute_that_is_not_there_is_a_broken_plugin(install: Install, registry: Registry) -> None:
    install("drivetrain-lion", lion="Prat")
    expected = (
        "`optim`: 'lion' is provided by drivetrain-lion 1.0, which is broken: its entry point leads to "
        "'drivetrain_lion:Prat', and module 'drivetrain_lion' has no attribute 'Prat'. " + REINSTALL
    )
    with pytest.raises(BrokenPluginError, match=says(expected)):
        registry.load("optimizer", "lion")


@pytest.mark.parametrize("value", ["acme:", "acme Part:", ":Part", "acme/part.py:Part", "acme:Part:x"])
def test_an_entry_point_of_another_form_is_a_broken_plugin(
    install: Install, registry: Registry, value: str
) -> None:
    install("drivetrain-lion", lion=value)
    expected = f"its entry point is {value!r}, which is no 'module:attribute'. {REINSTALL}"
    with pytest.raises(BrokenPluginError, match=re.escape(expected)):
        registry.load("optimizer", "lion")


def test_a_broken_plugin_can_be_tried_again(install: Install, registry: Registry, site: Path) -> None:
    install("acme", source="raise RuntimeError('not yet')", lion="Part")
    with pytest.raises(BrokenPluginError):
        registry.load("optimizer", "lion")
    (site / "acme.py").write_text("class Part:\n    is_repaired = True\n")
    registry.refresh()
    assert registry.load("optimizer", "lion").part is sys.modules["acme"].Part


def test_the_option_in_a_message_is_the_one_that_named_the_plugin(
    install: Install, registry: Registry
) -> None:
    install("acme", source="raise RuntimeError", groups={"drivetrain.precisions": {"bf16": "acme:X"}})
    with pytest.raises(
        BrokenPluginError, match=r"^`bf16`: 'bf16' is provided by acme .* another precision\.$"
    ):
        registry.load("precision", "bf16", option="bf16")


# -- a missing library ----------------------------------------------------------------------------


def test_a_missing_library_comes_with_its_pip_line(install: Install, registry: Registry) -> None:
    install("acme", source="import lion_pytorch", requires=["lion-pytorch>=0.2"], lion="Part")
    expected = (
        "`optim`: 'lion' is provided by acme 1.0; lion-pytorch>=0.2, which it needs, is not installed. "
        'Type: pip install "lion-pytorch>=0.2"'
    )
    with pytest.raises(MissingLibraryError, match=says(expected)) as caught:
        registry.load("optimizer", "lion")
    assert isinstance(caught.value, BrokenPluginError)


def test_several_missing_libraries_make_one_pip_line(install: Install, registry: Registry) -> None:
    requires = ["one>=1,<3", "installed", "two[fast] (>=2.0)", "three; extra == 'dev'"]
    install("installed", lion="Part")
    install("acme", source="import one", requires=requires, tiger="Part")
    expected = (
        "one>=1,<3 and two[fast]>=2.0, which it needs, are not installed. "
        'Type: pip install "one>=1,<3" "two[fast]>=2.0"'
    )
    with pytest.raises(MissingLibraryError, match=re.escape(expected)):
        registry.load("optimizer", "tiger")


def test_an_import_error_with_advice_of_its_own_is_a_missing_library_too(
    install: Install, registry: Registry
) -> None:
    install("acme", source="raise ImportError('please install one')", requires=["one"], lion="Part")
    with pytest.raises(MissingLibraryError, match=r'Type: pip install "one"$'):
        registry.load("optimizer", "lion")


def test_where_every_requirement_is_there_the_import_error_is_shown(
    install: Install, registry: Registry
) -> None:
    install("one", lion="Part")
    install("acme", source="import one.deeper", requires=["one"], tiger="Part")
    with pytest.raises(BrokenPluginError, match=r"No module named 'one\.deeper'") as caught:
        registry.load("optimizer", "tiger")
    assert not isinstance(caught.value, MissingLibraryError)


def test_a_library_that_is_missing_and_not_needed_yet_is_no_error(
    install: Install, registry: Registry
) -> None:
    install("acme", requires=["one"], lion="Part")
    entry = registry.load("optimizer", "lion").entry
    assert entry is not None
    assert [requirement.text for requirement in entry.missing_requirements()] == ["one"]


# -- another version of the plugin interface ------------------------------------------------------


def api(version: object) -> str:
    return dedent(f"""
        class Part:
            api_version = {version!r}
    """)


def test_a_plugin_for_a_later_interface_asks_for_an_upgrade_of_drivetrain(
    install: Install, registry: Registry
) -> None:
    install("acme", source=api(2), lion="Part")
    expected = (
        "`optim`: 'lion' is provided by acme 1.0 and was written for version 2 of the plugin interface; "
        "this drivetrain speaks version 1. "
        "Type: pip install --upgrade drivetrain-core drivetrain-registry"
    )
    with pytest.raises(IncompatiblePluginError, match=says(expected)):
        registry.load("optimizer", "lion")


@pytest.mark.parametrize("version", [0, "1", None])
def test_a_plugin_for_an_earlier_interface_asks_for_an_upgrade_of_itself(
    install: Install, registry: Registry, version: object
) -> None:
    install("acme", source=api(version), lion="Part")
    with pytest.raises(IncompatiblePluginError, match=r"Type: pip install --upgrade acme$"):
        registry.load("optimizer", "lion")


def test_a_plugin_for_this_interface_is_loaded(install: Install, registry: Registry) -> None:
    install("acme", source=api(1), lion="Part")
    assert registry.load("optimizer", "lion").part


def test_registered_and_dotted_parts_state_their_interface_too(registry: Registry, site: Path) -> None:
    (site / "mine.py").write_text(api(0))
    with pytest.raises(
        IncompatiblePluginError, match=r"^`optim`: 'mine\.Part' was written for version 0 .*"
    ):
        registry.load("optimizer", "mine.Part")
    registry.register("optimizer", "mine", sys.modules["mine"].Part)
    with pytest.raises(
        IncompatiblePluginError, match=r"Change it to version 1, and its `api_version` with"
    ):
        registry.load("optimizer", "mine")

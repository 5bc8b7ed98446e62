"""Names for code that is not packaged: dotted paths, and `register`."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

import drivetrain_registry
from drivetrain_registry import (
    DottedPathError,
    NameTakenError,
    Registry,
    UnknownNameError,
    default_registry,
)

Install = Callable[..., Path]


def says(text: str) -> str:
    """A pattern for the whole message."""
    return f"^{re.escape(text)}$"


# -- dotted paths ---------------------------------------------------------------------------------


def test_a_dotted_path_leads_to_an_object(registry: Registry, site: Path) -> None:
    package = site / "mypkg"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "optim.py").write_text("class MyOpt: ...\n")
    resolved = registry.load("optimizer", "mypkg.optim.MyOpt")
    assert resolved.part.__name__ == "MyOpt"  # type: ignore[attr-defined]
    assert resolved.entry is None
    assert resolved.title == "'mypkg.optim.MyOpt'"


def test_resolving_a_dotted_path_imports_nothing(registry: Registry) -> None:
    assert registry.resolve("optimizer", "no.such.Thing") is None


def test_a_module_that_is_not_there_is_named(registry: Registry) -> None:
    expected = (
        "`optim`: 'mypkg.optim.MyOpt' is a dotted path, and importing 'mypkg.optim' raised "
        "ModuleNotFoundError: No module named 'mypkg'. "
        "Check the spelling, and that the module can be imported where this runs."
    )
    with pytest.raises(DottedPathError, match=says(expected)):
        registry.load("optimizer", "mypkg.optim.MyOpt")


def test_an_attribute_that_is_not_there_is_named_with_near_matches(
    registry: Registry, site: Path
) -> None:
    (site / "mine.py").write_text("class MyOpt: ...\n")
    expected = (
        "`optim`: 'mine.MyOptt' is a dotted path, and the module 'mine' has no 'MyOptt'. "
        "Did you mean 'mine.MyOpt'?"
    )
    with pytest.raises(DottedPathError, match=says(expected)):
        registry.load("optimizer", "mine.MyOptt")


def test_an_attribute_that_resembles_nothing_gets_no_guess(registry: Registry, site: Path) -> None:
    (site / "mine.py").write_text("class MyOpt: ...\n")
    with pytest.raises(DottedPathError, match=r"the module 'mine' has no 'xyz'\.$"):
        registry.load("optimizer", "mine.xyz")


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("raise RuntimeError('no')", "RuntimeError: no"),
        ("import sys; sys.exit('bye')", "SystemExit: bye"),
        ("def __getattr__(name): raise ImportError('lazily')", "ImportError: lazily"),
    ],
)
def test_whatever_the_module_raises_is_shown(
    registry: Registry, site: Path, source: str, shown: str
) -> None:
    (site / "mine.py").write_text(source)
    with pytest.raises(DottedPathError, match=f"importing 'mine' raised {shown}\\. Check the"):
        registry.load("optimizer", "mine.MyOpt")


@pytest.mark.parametrize("typed", [".", "./mine.MyOpt", ".mine.MyOpt", "mine.", "mine..MyOpt", "1.5"])
def test_a_path_of_another_form_is_explained(registry: Registry, typed: str) -> None:
    expected = f"`optim`: {typed!r} is no dotted path. Write package.module.Name, as in an import."
    with pytest.raises(DottedPathError, match=says(expected)):
        registry.load("optimizer", typed)


# -- register -------------------------------------------------------------------------------------


class Part: ...


class OtherPart: ...


def test_a_registered_part_has_a_name_of_its_kind(registry: Registry) -> None:
    registry.register("optimizer", "mine", Part)
    resolved = registry.load("optimizer", "mine")
    assert (resolved.part, resolved.entry, resolved.title) == (Part, None, "'mine'")
    assert registry.names("optimizer") == ["mine"]
    with pytest.raises(UnknownNameError):
        registry.load("scheduler", "mine")


def test_a_registered_name_is_taken(registry: Registry) -> None:
    registry.register("optimizer", "mine", Part)
    expected = (
        "`optim`: 'mine' is taken by an earlier `register`. Choose another name, or pass `replace=True`."
    )
    with pytest.raises(NameTakenError, match=says(expected)):
        registry.register("optimizer", "mine", OtherPart)
    assert registry.load("optimizer", "mine").part is Part


def test_an_installed_name_is_taken(install: Install, registry: Registry) -> None:
    install("acme", lion="Part")
    with pytest.raises(NameTakenError, match=r"^`optim`: 'lion' is taken by acme 1\.0\. Choose another"):
        registry.register("optimizer", "lion", Part)


def test_replace_takes_a_name_from_a_registered_part(registry: Registry) -> None:
    registry.register("optimizer", "mine", Part)
    registry.register("optimizer", "mine", OtherPart, replace=True)
    assert registry.load("optimizer", "mine").part is OtherPart


def test_replace_takes_an_installed_name_and_the_qualified_one_stays(
    install: Install, registry: Registry
) -> None:
    install("acme", lion="Part")
    registry.register("optimizer", "lion", Part, replace=True)
    assert registry.load("optimizer", "lion").part is Part
    assert registry.load("optimizer", "acme:lion").part is not Part
    assert registry.names("optimizer") == ["lion"]


def test_a_name_may_be_taken_in_another_kind(install: Install, registry: Registry) -> None:
    install("acme", lion="Part")
    registry.register("scheduler", "lion", Part)
    assert registry.names("scheduler") == ["lion"]


def test_replace_settles_an_ambiguous_name(install: Install, registry: Registry) -> None:
    install("one", lion="Part")
    install("two", lion="Part")
    with pytest.raises(NameTakenError, match=r"is taken by one 1\.0 and two 1\.0\."):
        registry.register("optimizer", "lion", Part)
    registry.register("optimizer", "lion", Part, replace=True)
    assert registry.load("optimizer", "lion").part is Part


@pytest.mark.parametrize("name", ["", "my.opt", "acme:opt", "a b", "a/b", None])
def test_a_name_that_could_be_mistaken_is_refused(registry: Registry, name: str) -> None:
    expected = f"`name`: {name!r} cannot be registered. Use letters, digits, '_', '-'."
    with pytest.raises(ValueError, match=says(expected)):
        registry.register("optimizer", name, Part)


def test_a_kind_that_does_not_exist_is_refused(registry: Registry) -> None:
    with pytest.raises(ValueError, match="`kind`: 'optimizers' is no kind of part"):
        registry.register("optimizers", "mine", Part)


def test_the_function_registers_in_the_registry_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drivetrain_registry.registry._default", Registry([]))
    drivetrain_registry.register("optimizer", "mine", Part)
    assert default_registry().load("optimizer", "mine").part is Part
    drivetrain_registry.register("optimizer", "mine", OtherPart, replace=True)
    assert default_registry().load("optimizer", "mine").part is OtherPart

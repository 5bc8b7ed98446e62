"""One line of metadata for many names: found without an import, loaded when one of them is asked for."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from drivetrain_registry import (
    AmbiguousNameError,
    BrokenPluginError,
    Family,
    IncompatiblePluginError,
    MissingLibraryError,
    NameTakenError,
    Registry,
    UnknownDistributionError,
    UnknownNameError,
)

Install = Callable[..., Path]

ZOO = """
PARTS = {"zoo_lion": object(), "zoo_tiger": object()}
def names(): return list(PARTS)
def find(name): return PARTS[name]
"""


class Zoo:
    """A family to register."""

    def __init__(self, *names: str) -> None:
        self.parts = {name: object() for name in names}

    def names(self) -> list[str]:
        return list(self.parts)

    def find(self, name: str) -> object:
        return self.parts[name]


def says(text: str) -> str:
    """A pattern for the whole message."""
    return f"^{re.escape(text)}$"


@pytest.fixture
def zoo(install: Install, registry: Registry) -> Registry:
    """A registry of an installation with the family ``zoo_*``, and the optimizer ``plain``."""
    install("zoo", source=ZOO, groups={"drivetrain.optimizers": {"zoo_*": "zoo"}})
    install("plain", plain="Part")
    return registry


# -- found ----------------------------------------------------------------------------------------


def test_a_name_of_a_family_leads_to_its_part(zoo: Registry) -> None:
    resolved = zoo.load("optimizer", "zoo_lion")
    assert resolved.part is sys.modules["zoo"].PARTS["zoo_lion"]
    assert resolved.title == "'zoo_lion' (zoo 1.0)"
    assert resolved.entry is not None
    assert (resolved.entry.name, resolved.entry.qualified_name) == ("zoo_lion", "zoo:zoo_lion")


def test_neither_lists_nor_resolving_import_a_family(zoo: Registry) -> None:
    entry = zoo.resolve("optimizer", "zoo_lion")
    assert entry is not None
    assert (entry.name, entry.value) == ("zoo_lion", "zoo")
    assert zoo.names("optimizer") == ["plain"]
    assert zoo.families("optimizer") == ["zoo_*"]
    assert zoo.claims("optimizer", "zoo_lion")
    assert not zoo.claims("optimizer", "lion")
    assert not zoo.claims("scheduler", "zoo_lion")
    zoo.load("optimizer", "plain")
    assert "zoo" not in sys.modules


def test_the_members_of_a_family_can_be_listed(zoo: Registry) -> None:
    family = zoo.load_family("optimizer", "zoo_*")
    assert family.names("optim", "zoo_*") == ["zoo_lion", "zoo_tiger"]
    assert isinstance(family.family, Family)
    assert zoo.load_family("optimizer", "zoo:zoo_*").pattern == "zoo_*"


def test_a_qualified_name_leads_into_a_family(zoo: Registry) -> None:
    resolved = zoo.load("optimizer", "zoo:zoo_tiger")
    assert resolved.part is sys.modules["zoo"].PARTS["zoo_tiger"]
    assert resolved.entry is not None
    assert resolved.entry.name == "zoo_tiger"


def test_a_name_of_its_own_wins_over_a_family(install: Install, zoo: Registry) -> None:
    install("own", zoo_lion="Part")
    assert zoo.load("optimizer", "zoo_lion").title == "'zoo_lion' (own 1.0)"
    assert zoo.load("optimizer", "zoo:zoo_lion").part is sys.modules["zoo"].PARTS["zoo_lion"]


def test_the_longer_beginning_wins(install: Install, zoo: Registry) -> None:
    source = "def names(): return ['zoo_big_lion']\ndef find(name): return {'zoo_big_lion': 'big'}[name]"
    install("big", source=source, groups={"drivetrain.optimizers": {"zoo_big_*": "big"}})
    assert zoo.load("optimizer", "zoo_big_lion").part == "big"
    assert zoo.load("optimizer", "zoo_lion").part is sys.modules["zoo"].PARTS["zoo_lion"]


def test_a_dot_makes_a_name_a_path_and_no_name_of_a_family(zoo: Registry, site: Path) -> None:
    (site / "zoo_mine.py").write_text("class Lion: ...\n")
    assert zoo.load("optimizer", "zoo_mine.Lion").entry is None


def test_a_lone_star_claims_nothing(install: Install, registry: Registry) -> None:
    install("greedy", source=ZOO, groups={"drivetrain.optimizers": {"*": "greedy"}})
    with pytest.raises(UnknownNameError, match="'lion' is not installed"):
        registry.load("optimizer", "lion")


# -- registered -----------------------------------------------------------------------------------


def test_a_family_can_be_registered(registry: Registry) -> None:
    zoo = Zoo("my_lion")
    registry.register("optimizer", "my_*", zoo)
    resolved = registry.load("optimizer", "my_lion")
    assert (resolved.part, resolved.entry) == (zoo.parts["my_lion"], None)
    assert registry.families("optimizer") == ["my_*"]
    assert registry.load_family("optimizer", "my_*").names("optim", "my_*") == ["my_lion"]
    assert registry.load_family("optimizer", "my_lion").pattern == "my_*"
    expected = "`optim`: 'my_lio' is none of the 1 optimizers called 'my_*'. Did you mean 'my_lion'?"
    with pytest.raises(UnknownNameError, match=says(f"{expected} They are: my_lion.")):
        registry.load("optimizer", "my_lio")


def test_a_pattern_is_taken_and_can_be_replaced(zoo: Registry) -> None:
    mine = Zoo("zoo_mouse")
    with pytest.raises(NameTakenError, match=r"'zoo_\*' is taken by zoo 1\.0"):
        zoo.register("optimizer", "zoo_*", mine)
    zoo.register("optimizer", "zoo_*", mine, replace=True)
    assert zoo.load("optimizer", "zoo_mouse").part is mine.parts["zoo_mouse"]


def test_a_name_of_a_family_can_be_registered_over_it(zoo: Registry) -> None:
    mine = object()
    zoo.register("optimizer", "zoo_lion", mine)
    assert zoo.load("optimizer", "zoo_lion").part is mine


@pytest.mark.parametrize("name", ["*", "my_*_lion", "*_lion"])
def test_a_star_is_the_end_of_a_pattern(registry: Registry, name: str) -> None:
    with pytest.raises(ValueError, match="cannot be registered"):
        registry.register("optimizer", name, Zoo())


# -- what can be wrong ----------------------------------------------------------------------------


def test_a_name_that_a_family_does_not_have_comes_with_near_ones(zoo: Registry) -> None:
    expected = (
        "`optim`: 'zoo_lio' is none of the 2 optimizers called 'zoo_*' of zoo 1.0. "
        "Did you mean 'zoo_lion'? `drivetrain plugins show 'zoo_*'` lists them."
    )
    with pytest.raises(UnknownNameError, match=says(expected)):
        zoo.load("optimizer", "zoo_lio")
    with pytest.raises(UnknownNameError, match="'zoo:zoo_lio' is none of .* Did you mean 'zoo_lion'"):
        zoo.load("optimizer", "zoo:zoo_lio")


def test_a_pattern_is_no_name(zoo: Registry) -> None:
    expected = (
        "`optim`: 'zoo_*' stands for 2 optimizers: type the name of one, 'zoo_lion' or 'zoo_tiger' for "
        "example. `drivetrain plugins show 'zoo_*'` lists them."
    )
    with pytest.raises(UnknownNameError, match=says(expected)):
        zoo.load("optimizer", "zoo_*")


def test_patterns_are_among_what_is_installed(zoo: Registry) -> None:
    with pytest.raises(UnknownNameError, match=r"Installed: plain and zoo_\*\."):
        zoo.load("optimizer", "xyz")
    with pytest.raises(UnknownNameError, match=r"'zooo_\*' is not installed\. Did you mean 'zoo_\*'"):
        zoo.load_family("optimizer", "zooo_*")


def test_a_pattern_with_a_dot_is_no_family(zoo: Registry) -> None:
    with pytest.raises(UnknownNameError, match=r"'nn\.\*' is not installed\."):
        zoo.load_family("optimizer", "nn.*")


def test_two_distributions_may_not_claim_one_beginning(install: Install, zoo: Registry) -> None:
    install("rival", source=ZOO, groups={"drivetrain.optimizers": {"zoo_*": "rival"}})
    with pytest.raises(AmbiguousNameError, match="type 'rival:zoo_lion' or 'zoo:zoo_lion'"):
        zoo.load("optimizer", "zoo_lion")
    assert zoo.load("optimizer", "rival:zoo_lion").part is sys.modules["rival"].PARTS["zoo_lion"]
    with pytest.raises(UnknownNameError, match=r"`drivetrain plugins show 'rival:zoo_\*'` lists them"):
        zoo.load("optimizer", "rival:zoo_lio")
    with pytest.raises(UnknownNameError, match=r"`drivetrain plugins show 'zoo:zoo_\*'` lists them"):
        zoo.load("optimizer", "zoo:zoo_*")


def test_a_wrong_distribution_points_to_the_family(zoo: Registry) -> None:
    with pytest.raises(
        UnknownDistributionError, match=r"no optimizer 'zoo_lion'.* Type 'zoo:zoo_lion'\."
    ):
        zoo.resolve("optimizer", "plain:zoo_lion")


def test_a_family_in_the_catalogue_comes_with_its_pip_line(registry: Registry) -> None:
    with pytest.raises(UnknownNameError, match=r"Type: pip install drivetrain-pytorch-optimizer$"):
        registry.resolve("optimizer", "po_soap")
    with pytest.raises(UnknownDistributionError, match="drivetrain-pytorch-optimizer has 'po_soap'"):
        registry.resolve("optimizer", "po:po_soap")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("x = 1", r"leads to <module 'bad'.*>, which is no family of names: .*`names` and `find`"),
        ("def names(): return []\ndef find(name): 1 / 0", "whose `find` raised ZeroDivisionError"),
        ("def names(): 1 / 0\ndef find(name): raise KeyError", "whose `names` raised ZeroDivisionError"),
        ("import no_such_library", "importing 'bad' raised ModuleNotFoundError"),
    ],
)
def test_a_broken_family_is_named(install: Install, registry: Registry, source: str, said: str) -> None:
    install("bad", source=source, groups={"drivetrain.optimizers": {"bad_*": "bad"}})
    with pytest.raises(BrokenPluginError, match=f"^`optim`: 'bad_x' is provided by bad 1.0.*{said}"):
        registry.load("optimizer", "bad_x")


def test_the_library_that_a_family_misses_is_named(install: Install, registry: Registry) -> None:
    groups = {"drivetrain.optimizers": {"bad_*": "bad"}}
    install("bad", source="import lacking", requires=["lacking>=2"], groups=groups)
    with pytest.raises(MissingLibraryError, match='Type: pip install "lacking>=2"'):
        registry.load("optimizer", "bad_x")


def test_a_family_for_another_version_of_the_interface_is_refused(
    install: Install, registry: Registry
) -> None:
    groups = {"drivetrain.optimizers": {"zoo_*": "zoo"}}
    install("zoo", source=f"{ZOO}\napi_version = 2", groups=groups)
    with pytest.raises(
        IncompatiblePluginError, match="was written for version 2 of the plugin interface"
    ):
        registry.load("optimizer", "zoo_lion")

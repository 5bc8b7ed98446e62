"""What is installed, from metadata alone."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from drivetrain_registry import KINDS, Registry, discover
from drivetrain_registry.discovery import find_shadowed

Install = Callable[..., Path]


def test_an_empty_installation_offers_nothing(site: Path, registry: Registry) -> None:
    assert discover() == ()
    assert registry.entries() == ()
    assert registry.names("optimizer") == []


def test_an_entry_says_what_its_distribution_offers(install: Install) -> None:
    install("drivetrain-lion", "0.3", lion="Part")
    (entry,) = discover()
    assert (entry.kind.name, entry.name) == ("optimizer", "lion")
    assert entry.value == "drivetrain_lion:Part"
    assert entry.module == "drivetrain_lion"
    assert (entry.distribution, entry.version) == ("drivetrain-lion", "0.3")
    assert entry.provider == "drivetrain-lion 0.3"
    assert entry.qualified_name == "drivetrain-lion:lion"


def test_every_kind_has_a_group_of_its_own(install: Install, registry: Registry) -> None:
    install("acme", groups={kind.group: {kind.name: "acme:Part"} for kind in KINDS})
    assert [(entry.kind, entry.name) for entry in registry.entries()] == [(k, k.name) for k in KINDS]
    for kind in KINDS:
        assert registry.names(kind) == registry.names(kind.name) == [kind.name]


def test_entries_are_ordered_by_kind_then_name_then_distribution(
    install: Install, registry: Registry
) -> None:
    install("zeta", b="Part", groups={"drivetrain.schedulers": {"a": "zeta:Part"}})
    install("alpha", b="Part", a="Part")
    assert [(e.name, e.distribution) for e in registry.entries()] == [
        ("a", "alpha"),
        ("b", "alpha"),
        ("b", "zeta"),
        ("a", "zeta"),
    ]


def test_other_groups_are_left_alone(install: Install) -> None:
    install("pytest-acme", groups={"pytest11": {"acme": "pytest_acme"}})
    install("near", groups={"drivetrain.optimizer": {"x": "near:X"}, "drivetrain": {"y": "near:Y"}})
    assert discover() == ()


def test_listing_imports_nothing_even_if_every_plugin_is_broken(
    install: Install, registry: Registry
) -> None:
    install("drivetrain-bad", source="raise RuntimeError('imported')", bad="Part")
    assert registry.names("optimizer") == ["bad"]
    assert registry.resolve("optimizer", "bad") is not None
    assert "drivetrain_bad" not in sys.modules


def test_what_is_installed_is_read_once(install: Install, registry: Registry) -> None:
    install("one", one="Part")
    assert registry.names("optimizer") == ["one"]
    install("two", two="Part")
    assert registry.names("optimizer") == ["one"]


def test_refresh_looks_again_and_keeps_what_was_registered(install: Install, registry: Registry) -> None:
    install("one", one="Part")
    registry.register("optimizer", "mine", object())
    assert registry.names("optimizer") == ["mine", "one"]
    install("two", two="Part")
    registry.refresh()
    assert registry.names("optimizer") == ["mine", "one", "two"]


def test_refresh_keeps_entries_that_were_given(install: Install) -> None:
    install("one", one="Part")
    registry = Registry(discover())
    install("two", two="Part")
    registry.refresh()
    assert registry.names("optimizer") == ["one"]


def test_a_kind_that_does_not_exist_is_refused_with_those_that_do(registry: Registry) -> None:
    with pytest.raises(
        ValueError, match=r"`kind`: 'optimiser' is no kind of part\. Kinds: optimizer, sch"
    ):
        registry.names("optimiser")


# -- metadata that is not as it should be ---------------------------------------------------------


def test_a_name_that_one_distribution_gives_twice_counts_once(
    install: Install, registry: Registry
) -> None:
    info = install("twice", lion="Part")
    with (info / "entry_points.txt").open("a") as file:
        file.write("lion = twice:Other\n")
    assert [entry.value for entry in registry.entries()] == ["twice:Part"]


def test_comments_and_blank_lines_are_no_entries(install: Install, registry: Registry) -> None:
    info = install("commented", lion="Part")
    text = "# top\n\n[drivetrain.optimizers]\n; none\n  lion=commented:Part  \n\n[other]\nx = y\n"
    (info / "entry_points.txt").write_text(text)
    assert [(e.name, e.value) for e in registry.entries()] == [("lion", "commented:Part")]


def test_a_line_without_a_value_is_listed_and_broken(install: Install, registry: Registry) -> None:
    info = install("hollow", lion="Part")
    (info / "entry_points.txt").write_text("[drivetrain.optimizers]\nlion\n")
    (entry,) = registry.entries()
    assert (entry.name, entry.value, entry.module) == ("lion", "", "")
    with pytest.raises(ValueError, match="its entry point is '', which is no 'module:attribute'"):
        registry.load("optimizer", "lion")


@pytest.mark.parametrize("file", ["entry_points.txt", "METADATA"])
def test_one_file_that_cannot_be_read_takes_no_other_name_away(
    install: Install, registry: Registry, file: str
) -> None:
    info = install("torn", torn="Part")
    install("whole", whole="Part")
    (info / file).write_bytes(b"[drivetrain.optimizers]\n\xff\xfe = torn:Part\n")
    assert registry.names("optimizer") == ["whole"]


def test_metadata_without_a_name_is_passed_over(install: Install, registry: Registry) -> None:
    info = install("nameless", lion="Part")
    (info / "METADATA").unlink()
    install("whole", whole="Part")
    assert registry.names("optimizer") == ["whole"]


def test_metadata_without_a_version_says_so(install: Install, registry: Registry) -> None:
    info = install("undated", lion="Part")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: undated\n")
    assert registry.entries()[0].provider == "undated of unknown version"


def test_what_an_interrupted_pip_leaves_is_passed_over(
    site: Path, install: Install, registry: Registry
) -> None:
    info = install("drivetrain-lion", lion="Part")
    info.rename(site / "~rivetrain_lion-1.0.dist-info")
    assert registry.names("optimizer") == []


# -- installed twice ------------------------------------------------------------------------------


@pytest.fixture
def second_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "second"
    folder.mkdir()
    sys.path.append(str(folder))
    return folder


def test_of_a_distribution_that_is_installed_twice_the_first_counts(
    install: Install, registry: Registry, second_folder: Path
) -> None:
    install("drivetrain-lion", "2.0", lion="Part")
    install("drivetrain-lion", "1.0", lion="Part", folder=second_folder)
    entry = registry.resolve("optimizer", "lion")  # and no AmbiguousNameError
    assert entry is not None
    assert entry.version == "2.0"


def test_names_of_a_hidden_installation_are_not_offered(
    install: Install, registry: Registry, second_folder: Path
) -> None:
    install("drivetrain-lion", "2.0", groups={"console_scripts": {"lion": "drivetrain_lion:main"}})
    install("drivetrain-lion", "1.0", lion="Part", folder=second_folder)
    assert registry.names("optimizer") == []


def test_a_hidden_installation_is_found(site: Path, install: Install, second_folder: Path) -> None:
    install("drivetrain-lion", "2.0", lion="Part")
    install("drivetrain-lion", "1.0", lion="Part", folder=second_folder)
    (found,) = find_shadowed()
    assert found.distribution == "drivetrain-lion"
    assert found.used == ("2.0", str(site))
    assert found.hidden == ("1.0", str(second_folder))


def test_a_folder_that_is_on_the_path_twice_hides_nothing(
    site: Path, install: Install, registry: Registry
) -> None:
    install("drivetrain-lion", lion="Part")
    sys.path.append(str(site))
    assert len(registry.entries()) == 1
    assert find_shadowed() == ()


def test_two_spellings_of_a_name_are_one_distribution(
    install: Install, registry: Registry, second_folder: Path
) -> None:
    install("drivetrain-lion", "2.0", lion="Part")
    install("Drivetrain_Lion", "1.0", lion="Part", folder=second_folder)
    assert [entry.version for entry in registry.entries()] == ["2.0"]

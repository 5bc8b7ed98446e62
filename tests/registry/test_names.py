"""From a name to an installed entry, without importing it: what can be typed, and what cannot."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from drivetrain_registry import (
    AmbiguousNameError,
    Entry,
    Registry,
    RegistryError,
    UnknownDistributionError,
    UnknownNameError,
)

OWN_CODE = "Code of your own is named by its dotted path, or by `drivetrain.register('optimizer', ...)`."

Install = Callable[..., Path]
GALORE_HAS_IT = "drivetrain-galore has 'galore_adamw'. Type: pip install drivetrain-galore"


def find(registry: Registry, kind: str, name: str) -> Entry:
    entry = registry.resolve(kind, name)
    assert entry is not None
    return entry


def says(text: str) -> str:
    """A pattern for the whole message."""
    return f"^{re.escape(text)}$"


def test_a_name_leads_to_its_entry(install: Install, registry: Registry) -> None:
    install("drivetrain-lion", lion="Part")
    assert find(registry, "optimizer", "lion").distribution == "drivetrain-lion"


def test_a_name_counts_in_its_own_kind(install: Install, registry: Registry) -> None:
    groups = {"drivetrain.schedulers": {"lion": "acme:Schedule"}}
    install("acme", lion="Part", groups=groups)
    assert find(registry, "optimizer", "lion").value == "acme:Part"
    assert find(registry, "scheduler", "lion").value == "acme:Schedule"


# -- unknown --------------------------------------------------------------------------------------


def test_an_unknown_name_lists_near_matches_and_what_is_installed(
    install: Install, registry: Registry
) -> None:
    install("acme", lion="Part", tiger="Part")
    expected = (
        f"`optim`: 'lionn' is not installed. Did you mean 'lion'? Installed: lion and tiger. {OWN_CODE}"
    )
    with pytest.raises(UnknownNameError, match=says(expected)) as caught:
        registry.resolve("optimizer", "lionn")
    assert (caught.value.option, caught.value.value) == ("optim", "lionn")


def test_an_unknown_name_that_resembles_nothing_gets_no_guess(
    install: Install, registry: Registry
) -> None:
    install("acme", lion="Part")
    expected = f"`optim`: 'xyz' is not installed. Installed: lion. {OWN_CODE}"
    with pytest.raises(UnknownNameError, match=says(expected)):
        registry.resolve("optimizer", "xyz")


@pytest.mark.parametrize("typed", ["LION_8BIT", "lion-8bit", " lion_8bit "])
def test_case_hyphens_and_spaces_do_not_keep_a_guess_from_being_made(
    install: Install, registry: Registry, typed: str
) -> None:
    install("acme", lion_8bit="Part", lion_4bit="Part")
    with pytest.raises(UnknownNameError, match=r"Did you mean 'lion_8bit'\?"):
        registry.resolve("optimizer", typed)


def test_where_nothing_is_installed_the_message_says_none(registry: Registry) -> None:
    with pytest.raises(UnknownNameError, match=r"'xyz' is not installed\. Installed: none\. Code of"):
        registry.resolve("optimizer", "xyz")


def test_a_name_in_the_catalogue_comes_with_its_pip_line(registry: Registry) -> None:
    expected = (
        "`optim`: 'galore_adamw' is not installed. Installed: none. drivetrain-galore has it. "
        "Type: pip install drivetrain-galore"
    )
    with pytest.raises(UnknownNameError, match=says(expected)):
        registry.resolve("optimizer", "galore_adamw")


def test_a_near_match_that_is_in_the_catalogue_alone_comes_with_its_pip_line(registry: Registry) -> None:
    guess = r"Did you mean 'tensorboard' \(pip install drivetrain-tensorboard\)\?"
    with pytest.raises(UnknownNameError, match=guess):
        registry.resolve("reporter", "tensorbord")


def test_a_name_of_another_kind_is_pointed_to(install: Install, registry: Registry) -> None:
    install("acme", groups={"drivetrain.schedulers": {"wave": "acme:Wave"}})
    with pytest.raises(
        UnknownNameError, match=r"is the name of a scheduler: `lr_scheduler_type`='wave'"
    ):
        registry.resolve("optimizer", "wave")
    install("beta", wave2="Part")
    registry.refresh()
    with pytest.raises(UnknownNameError, match="It is the name of an optimizer: `optim`='wave2'"):
        registry.resolve("reporter", "wave2")


def test_the_option_in_a_message_is_the_one_that_held_the_name(registry: Registry) -> None:
    with pytest.raises(UnknownNameError, match=r"^`bf16`: 'bf17' is not installed"):
        registry.resolve("precision", "bf17", option="bf16")


def test_registered_names_are_among_the_near_matches(registry: Registry) -> None:
    registry.register("optimizer", "lion", object())
    with pytest.raises(UnknownNameError, match=r"Did you mean 'lion'\? Installed: lion\."):
        registry.resolve("optimizer", "lio")


@pytest.mark.parametrize("value", [None, 3, ["lion"], object])
def test_what_is_no_text_is_no_name(install: Install, registry: Registry, value: Any) -> None:
    install("acme", lion="Part")
    named = re.escape(
        f"`optim`: {value!r} is a {type(value).__name__}, and an optimizer is named by a text"
    )
    with pytest.raises(UnknownNameError, match=f"^{named}. Installed: lion.$"):
        registry.load("optimizer", value)


def test_the_empty_name_is_unknown(registry: Registry) -> None:
    with pytest.raises(UnknownNameError, match="`optim`: '' is not installed"):
        registry.load("optimizer", "")


# -- ambiguous ------------------------------------------------------------------------------------


def test_a_name_that_two_distributions_claim_has_to_be_qualified(
    install: Install, registry: Registry
) -> None:
    install("drivetrain-lion", "1.0", lion="Part")
    install("acme-optimizers", "2.1", lion="Part")
    expected = (
        "`optim`: 'lion' is provided by 2 distributions: acme-optimizers 2.1 and drivetrain-lion 1.0. "
        "Say which: type 'acme-optimizers:lion' or 'drivetrain-lion:lion', or uninstall one of them."
    )
    with pytest.raises(AmbiguousNameError, match=says(expected)):
        registry.resolve("optimizer", "lion")


def test_a_name_that_three_distributions_claim_names_them_all(
    install: Install, registry: Registry
) -> None:
    for name in ("a", "b", "c"):
        install(name, lion="Part")
    with pytest.raises(
        AmbiguousNameError, match=r"3 distributions: a 1\.0, b 1\.0 and c 1\.0\..* all but one"
    ):
        registry.resolve("optimizer", "lion")


def test_a_default_that_a_second_distribution_claims_is_no_exception(
    install: Install, registry: Registry
) -> None:
    install("drivetrain-torch", "0.1.0", adamw_torch="Part")
    install("rival", "2.0", adamw_torch="Part")
    with pytest.raises(
        AmbiguousNameError, match="type 'drivetrain-torch:adamw_torch' or 'rival:adamw_torch'"
    ):
        registry.load("optimizer", "adamw_torch")
    assert find(registry, "optimizer", "drivetrain-torch:adamw_torch").version == "0.1.0"


def test_an_ambiguous_name_does_not_touch_the_others(install: Install, registry: Registry) -> None:
    install("a", lion="Part", tiger="Part")
    install("b", lion="Part")
    assert find(registry, "optimizer", "tiger").distribution == "a"
    assert registry.names("optimizer") == ["lion", "tiger"]


# -- qualified ------------------------------------------------------------------------------------


@pytest.mark.parametrize("typed", ["acme-optim:lion", "acme_optim:lion", "Acme.Optim:lion"])
def test_a_qualified_name_leads_to_its_distribution_however_it_is_spelt(
    install: Install, registry: Registry, typed: str
) -> None:
    install("acme-optim", "2.0", lion="Part")
    install("other", lion="Part")
    assert find(registry, "optimizer", typed).provider == "acme-optim 2.0"


def test_a_qualified_name_works_where_it_is_not_needed(install: Install, registry: Registry) -> None:
    install("acme", lion="Part")
    assert registry.load("optimizer", "acme:lion").title == "'acme:lion' (acme 1.0)"


def test_a_distribution_that_does_not_provide_the_name_is_listed_with_what_it_does(
    install: Install, registry: Registry
) -> None:
    install("acme", tiger="Part")
    install("drivetrain-lion", lion="Part")
    expected = (
        "`optim`: 'acme:lion' names acme 1.0, which provides no optimizer 'lion'. "
        "Its optimizers: tiger. Type 'drivetrain-lion:lion'."
    )
    with pytest.raises(UnknownDistributionError, match=says(expected)):
        registry.resolve("optimizer", "acme:lion")


def test_a_distribution_with_plugins_of_other_kinds_alone_says_none(
    install: Install, registry: Registry
) -> None:
    install("acme", groups={"drivetrain.reporters": {"lines": "acme:Part"}})
    expected = (
        "`optim`: 'acme:lion' names acme 1.0, which provides no optimizer 'lion'. Its optimizers: none."
    )
    with pytest.raises(UnknownDistributionError, match=says(expected)):
        registry.resolve("optimizer", "acme:lion")


def test_a_distribution_that_is_not_installed_points_to_those_that_have_the_name(
    install: Install, registry: Registry
) -> None:
    install("drivetrain-lion", lion="Part")
    expected = (
        "`optim`: 'acme:lion' names the distribution 'acme', which provides no installed plugin. "
        "Type 'drivetrain-lion:lion'."
    )
    with pytest.raises(UnknownDistributionError, match=says(expected)):
        registry.resolve("optimizer", "acme:lion")


@pytest.mark.parametrize(
    ("typed", "advice"),
    [
        ("drivetrain-galore:galore_adamw", GALORE_HAS_IT),
        ("galore:galore_adamw", GALORE_HAS_IT),
        ("acme:lion", "If that is its name, type: pip install acme"),
        ("mypkg.optim:Lion", "If it is a module of yours, type 'mypkg.optim.Lion'."),
    ],
)
def test_a_distribution_that_is_not_installed_comes_with_what_to_type(
    registry: Registry, typed: str, advice: str
) -> None:
    what = f"names the distribution {typed.partition(':')[0]!r}, which provides no installed plugin."
    with pytest.raises(UnknownDistributionError, match=says(f"`optim`: {typed!r} {what} {advice}")):
        registry.resolve("optimizer", typed)


@pytest.mark.parametrize("typed", [":", ":lion", "acme:"])
def test_half_a_qualified_name_is_explained(install: Install, registry: Registry, typed: str) -> None:
    install("acme", lion="Part")
    with pytest.raises(
        UnknownDistributionError, match=r"is no qualified name\. Write distribution:name, such"
    ):
        registry.resolve("optimizer", typed)


# -- other ----------------------------------------------------------------------------------------


def test_every_error_is_a_registry_error_and_those_are_usage_errors() -> None:
    from drivetrain_registry import UsageError, errors

    classes = [c for c in vars(errors).values() if isinstance(c, type) and c is not UsageError]
    assert len(classes) == 10
    assert all(issubclass(c, RegistryError) and c.__doc__ for c in classes)
    assert issubclass(RegistryError, UsageError)
    assert issubclass(UsageError, ValueError)


def test_errors_survive_the_way_between_processes() -> None:
    import pickle

    from drivetrain_registry import MissingLibraryError

    error = pickle.loads(pickle.dumps(MissingLibraryError("optim", "lion", "is not there.")))
    assert type(error) is MissingLibraryError
    assert str(error) == "`optim`: 'lion' is not there."
    assert (error.option, error.value, error.explanation) == ("optim", "lion", "is not there.")


def test_an_installed_name_with_a_dot_is_a_name_first(install: Install) -> None:
    install("acme", groups={"drivetrain.optimizers": {"lion.v2": "acme:Part"}})
    assert find(Registry(), "optimizer", "lion.v2").distribution == "acme"

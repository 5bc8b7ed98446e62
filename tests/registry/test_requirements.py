"""Which requirements a plugin's metadata names, and which of them are there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from drivetrain_registry.requirements import normalize, read_requirements

Install = Callable[..., Path]


@pytest.mark.parametrize(
    ("line", "name", "text"),
    [
        ("galore-torch", "galore-torch", "galore-torch"),
        ("galore-torch>=1.0", "galore-torch", "galore-torch>=1.0"),
        ("galore_torch (>=1.0,<2)", "galore_torch", "galore_torch>=1.0,<2"),
        ("lib[fast,gpu] >= 1.0, != 1.5", "lib", "lib[fast,gpu]>=1.0,!=1.5"),
        ("lib ~=1.0", "lib", "lib~=1.0"),
        ("lib@https://example.org/lib.whl", "lib", "lib@https://example.org/lib.whl"),
    ],
)
def test_a_requirement_is_read_as_pip_takes_it(
    install: Install, line: str, name: str, text: str
) -> None:
    install("acme", requires=[line])
    (requirement,) = read_requirements("acme")
    assert (requirement.name, requirement.text) == (name, text)
    assert not requirement.is_installed()


def test_requirements_with_a_condition_are_left_out(install: Install) -> None:
    conditions = ["a; extra == 'dev'", 'b>=1 ; python_version < "3"', "c; sys_platform == 'win32'", "d"]
    install("acme", requires=conditions)
    assert [requirement.name for requirement in read_requirements("acme")] == ["d"]


def test_a_requirement_is_there_however_its_name_is_spelt(install: Install) -> None:
    install("Some_Lib")
    install("acme", requires=["some-lib>=99"])
    (requirement,) = read_requirements("acme")
    assert requirement.is_installed()


def test_a_distribution_that_is_not_there_requires_nothing(site: Path) -> None:
    assert read_requirements("no-such-distribution") == ()


def test_names_are_compared_in_their_normalized_form() -> None:
    assert normalize("Drivetrain_Torch") == normalize("drivetrain.torch") == "drivetrain-torch"

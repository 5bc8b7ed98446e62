"""What reporters share: numbers, switches in the environment, libraries that are missing or talk."""

from __future__ import annotations

import logging
import math
from typing import Any

import numpy as np
import pytest
import torch

from drivetrain.plugin import (
    Forwarding,
    as_float,
    as_number,
    find_missing_library,
    find_unclear_switches,
    read_switch,
)


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (True, 1),
        (3, 3),
        (0.5, 0.5),
        (np.int64(4), 4),
        (np.float32(0.5), 0.5),
        (torch.tensor(2.5), 2.5),
        (torch.tensor(7), 7),
        (-math.inf, -math.inf),
        ("3", None),
        (None, None),
        ([1], None),
        (torch.ones(1), None),
        (1j, None),
    ],
)
def test_numbers_of_any_library_become_those_of_python(value: Any, number: float | int | None) -> None:
    assert as_number(value) == number
    assert type(as_number(value)) is type(number) or isinstance(value, bool)
    assert as_float(value) == number
    assert number is None or type(as_float(value)) is float


def test_an_int_that_no_float_can_hold_is_infinite() -> None:
    assert (as_number(10**400), as_float(10**400), as_float(-(10**400))) == (
        10**400,
        math.inf,
        -math.inf,
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("TRUE", True),
        (" on ", True),
        ("1", True),
        ("No", False),
        ("0", False),
        ("", None),
        ("maybe", None),
    ],
)
def test_a_switch_is_read_in_any_of_the_usual_words(
    text: str, said: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_SWITCH", text)
    assert read_switch("A_SWITCH") is said
    problems = list(find_unclear_switches("A_SWITCH", "NOT_SET"))
    assert problems == (
        ["`report_to`: A_SWITCH='maybe' is neither true nor false. Type: export A_SWITCH=true"]
        if text == "maybe"
        else []
    )


@pytest.mark.parametrize(
    ("module", "is_missing"),
    [("torch", False), ("no_such_library", True), ("no_such_library.part", True)],
)
def test_a_library_that_is_missing_is_said_with_what_to_type(module: str, is_missing: bool) -> None:
    problems = list(find_missing_library("mine", module, "'a-library>=2'"))
    said = "`report_to`: 'mine' needs its library. Type: pip install 'a-library>=2'"
    assert problems == ([said] if is_missing else [])


def test_what_a_library_logs_is_passed_on_once(caplog: pytest.LogCaptureFixture) -> None:
    theirs = logging.getLogger("a_library")
    theirs.propagate = False
    handler = Forwarding(logging.getLogger("drivetrain_mine"), "Mine")
    theirs.addHandler(handler)
    try:
        for _ in range(2):
            theirs.info("hello")
            theirs.warning("%d%% of the disk is full", 99)
    finally:
        theirs.removeHandler(handler)
    assert [(record.name, record.levelname, record.getMessage()) for record in caplog.records] == [
        ("drivetrain_mine", "WARNING", "Mine: 99% of the disk is full")
    ]

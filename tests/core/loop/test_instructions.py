"""What an update costs over a loop in bare PyTorch, counted: so a slower loop is noticed.

Counts depend neither on the machine nor on what else it does. The goal, 1.05 of the bare loop's instructions,
is held by `python benchmarks loop`; the bounds here leave room for other versions of Python and torch.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

pytestmark = pytest.mark.slow

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"
NAMES = ("bare loop", "drivetrain")
HOW = "Which functions that is: python benchmarks where, before the change and after."


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The module of that name in benchmarks."""
    known = set(sys.modules)
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield importlib.import_module("loop")
    for name in ("loop", "comparison", "progress", "trainers"):
        if name not in known:
            sys.modules.pop(name)


def ratio(loop: ModuleType, what: str, few: int, many: int) -> float:
    """What an update costs, over that of the bare loop."""
    counts = loop.count(what, NAMES, ["plain"], few, many)
    bare, ours = (counts[name]["plain"] for name in NAMES)
    assert bare > 1000
    return float(ours / bare)


def test_an_update_executes_few_instructions_more_than_the_bare_loop(loop: ModuleType) -> None:
    if not loop.has_valgrind():
        pytest.skip("valgrind is not installed (`apt install valgrind`)")
    found = ratio(loop, "instructions", 5, 25)
    assert found < 1.1, f"{found:.3f} of the bare loop's instructions. {HOW}"


def test_an_update_executes_few_bytecodes_more_than_the_bare_loop(loop: ModuleType) -> None:
    found = ratio(loop, "bytecodes", 5, 25)
    assert found < 1.2, f"{found:.3f} of the bare loop's bytecodes. {HOW}"

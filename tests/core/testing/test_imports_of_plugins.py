"""What a plugin does when it is imported is noticed, from the outside."""

from __future__ import annotations

from collections.abc import Callable

import pytest

pytestmark = pytest.mark.slow

FAULTS = {
    "prints": ("print('hello')", "writes to standard output or error"),
    "warns": ("import warnings; warnings.warn('old')", "writes to standard output or error"),
    "logs": (
        "import logging; logging.basicConfig(level=10)",
        "sets up logging, which is the application's",
    ),
    "phones": (
        "import socket\n"
        "try:\n    socket.create_connection(('127.0.0.1', 9), 0.1)\nexcept OSError:\n    pass",
        "contacts the network: socket.getaddrinfo 127.0.0.1",
    ),
    "widens": ("import torch; torch.set_default_dtype(torch.float64)", "changes torch's default dtype"),
    "leans": ("import drivetrain_torch.muon", "imports other plugins: drivetrain_torch"),
    "misses": ("import a_library_that_nobody_has", "the plugin cannot be loaded"),
    "dies": ("import os; os._exit(3)", "ended Python with status 3"),
}
PLUGIN = """
from drivetrain.plugin import SchedulerPlugin

class Schedule(SchedulerPlugin):
    '''A schedule.'''
    def create(self, optimizer, num_warmup_steps, num_training_steps):
        raise NotImplementedError
"""
SUITES = """
from drivetrain.testing import SchedulerSuite

for name in {names}:
    attributes = {{"name": name, "__module__": __name__}}
    globals()[f"Test_{{name}}"] = type(f"Test_{{name}}", (SchedulerSuite,), attributes)
"""


@pytest.fixture(scope="module")
def results(make_stranger: Callable) -> dict:
    """How `test_import` and `test_discovery` end for a plugin with each fault, and for one without."""
    stranger = make_stranger()
    names = {"quiet": "", "eager": "", **{name: fault for name, (fault, _) in FAULTS.items()}}
    for name, fault in names.items():
        stranger.add_module(f"of_{name}", f"{fault}\n{PLUGIN}")
        entry = {name: f"of_{name}:Schedule"}
        stranger.add_distribution(f"drivetrain-{name}", {"drivetrain.schedulers": entry})
    stranger.add_module(
        "sitecustomize", "import sys\nif 'drivetrain-eager' in sys.argv: import of_eager"
    )
    stranger.add_module("suites", SUITES.format(names=list(names)))
    nodes = [(f"Test_{name}", test) for name in names for test in ("test_import", "test_discovery")]
    return stranger.run(stranger.folder / "suites.py", nodes)


def test_a_plugin_that_is_imported_and_nothing_else_passes(results: dict) -> None:
    assert results["Test_quiet", "test_import"].outcome == "passed"
    assert results["Test_quiet", "test_discovery"].outcome == "passed"


@pytest.mark.parametrize("name", FAULTS)
def test_what_else_an_import_does_is_said(results: dict, name: str) -> None:
    result = results[f"Test_{name}", "test_import"]
    assert result.outcome == "failed"
    assert FAULTS[name][1] in result.message


def test_a_plugin_that_is_imported_to_list_its_name_is_noticed(results: dict) -> None:
    result = results["Test_eager", "test_discovery"]
    assert result.outcome == "failed"
    assert "`drivetrain plugins` imports of_eager" in result.message

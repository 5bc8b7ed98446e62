"""The conformance kit for authors of plugins: what every part of a kind must pass, as a test class.

A plugin's whole test file, with pytest installed (``pip install 'drivetrain-core[testing]'``)::

    from drivetrain.testing import OptimizerSuite


    class TestLion(OptimizerSuite):
        name = "lion"
"""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from drivetrain.testing.optimizer import OptimizerSuite as OptimizerSuite
    from drivetrain.testing.precision import PrecisionSuite as PrecisionSuite
    from drivetrain.testing.reporter import ReporterSuite as ReporterSuite
    from drivetrain.testing.scheduler import SchedulerSuite as SchedulerSuite
    from drivetrain.testing.suite import PartSuite as PartSuite

_HOMES = {
    "OptimizerSuite": "drivetrain.testing.optimizer",
    "PartSuite": "drivetrain.testing.suite",
    "PrecisionSuite": "drivetrain.testing.precision",
    "ReporterSuite": "drivetrain.testing.reporter",
    "SchedulerSuite": "drivetrain.testing.scheduler",
}

__all__ = [*_HOMES]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if find_spec("pytest") is None:
        raise ImportError(
            "`drivetrain.testing` needs pytest, which is not installed. "
            "Type: pip install 'drivetrain-core[testing]'"
        )
    return getattr(importlib.import_module(_HOMES[name]), name)

"""Where a suite's part can be tried."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from drivetrain.arguments import TrainingArguments
from drivetrain.parts import problems_of
from drivetrain_registry import UsageError

if TYPE_CHECKING:
    from drivetrain.testing.suite import PartSuite

QUIET: Mapping[str, Any] = {
    "per_device_train_batch_size": 8,
    "per_device_eval_batch_size": 16,
    "max_steps": 4,
    "lr_scheduler_type": "constant",
    "logging_steps": 1,
    "save_strategy": "no",
    "report_to": "none",
    "disable_tqdm": True,
}
"""Arguments of short runs that make no noise."""

_OF_MACHINES = re.compile(
    r"\b(cpu|gpu|cuda|rocm|mps|xpu|npu|tpu|device|accelerator|installed)\b", re.IGNORECASE
)
"""Words of a refusal that is about the machine, rather than about other arguments."""


class Machine(NamedTuple):
    """Where the part can be tried.

    Attributes:
        use_cpu: The argument of that name.
        refusal: What the part says against running on this machine at all.
    """

    use_cpu: bool
    refusal: tuple[str, ...]


def find_machine(suite: type[PartSuite]) -> Machine:
    """Where a suite's part can be tried: on the CPU, else on an accelerator, else nowhere here."""
    if suite not in _machines:
        _machines[suite] = _look_for_machine(suite)
    return _machines[suite]


_machines: dict[type[PartSuite], Machine] = {}


def _look_for_machine(suite: type[PartSuite]) -> Machine:
    first: tuple[str, ...] = ()
    for use_cpu in (True, False) if torch.accelerator.is_available() else (True,):
        said = _find_refusal(suite, use_cpu)
        if not said:
            return Machine(use_cpu, ())
        first = first or said
    return Machine(True, first)


def _find_refusal(suite: type[PartSuite], use_cpu: bool) -> tuple[str, ...]:
    """What the part says against the machine; nothing if it cannot be asked.

    What it says against the suite's own arguments is for the author to mend, and no reason to skip.
    """
    try:
        args = TrainingArguments(
            "unused", **{**QUIET, "use_cpu": suite.arguments.get("use_cpu", use_cpu)}
        )
        for name, value in {**suite().name_part(suite.options), **suite.arguments}.items():
            setattr(args, name, value)
        said = problems_of(suite().load_part(args))
        return tuple(problem for problem in said if _OF_MACHINES.search(problem))
    except (UsageError, NotImplementedError):
        return ()  # the tests will say it

"""What an optimizer's `step` asks for, where the trainer calls it with nothing."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from inspect import Parameter

from torch.optim import Optimizer

from drivetrain_registry import UsageError


def find_misfits_of_step(parameters: Iterable[Parameter]) -> Iterator[str]:
    """Why the trainer cannot call a step, if it cannot: the end of a sentence about its optimizer.

    Args:
        parameters: What it takes, but for ``self``.
    """
    needed = [
        parameter.name
        for parameter in parameters
        if parameter.default is Parameter.empty
        and parameter.kind not in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
    ]
    if needed == ["closure"]:
        yield "its `step` needs a closure that computes the loss again, several times an update"
    elif needed:
        yield f"its `step` needs {' and '.join(needed)}"


def refuse_misfits_of_step(optimizer: Optimizer, name: str) -> None:
    """Say, before the first update fails, that an optimizer cannot be stepped by the trainer.

    Args:
        optimizer: The optimizer.
        name: What the user typed.

    Raises:
        UsageError: Its ``step`` needs something.
    """
    for misfit in find_misfits_of_step(inspect.signature(optimizer.step).parameters.values()):
        raise UsageError(
            f"`optim`: {name!r} cannot be used: {misfit}, and the trainer calls `step()` without any. "
            "Choose another optimizer."
        )

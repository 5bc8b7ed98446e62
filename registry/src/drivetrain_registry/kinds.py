"""The kinds of part that an argument can name, and commands."""

from __future__ import annotations

from typing import NamedTuple

API_VERSION = 1
"""Major version of the plugin interface that this release speaks."""


class Kind(NamedTuple):
    """A sort of part: where it is registered, and which argument names it.

    Attributes:
        name: What one part of this kind is called in messages: ``"optimizer"``.
        group: The entry-point group in a plugin's ``pyproject.toml``.
        option: The training argument that usually names such a part; for a command the command line that
            it belongs to.
    """

    name: str
    group: str
    option: str

    def __str__(self) -> str:
        return self.name


OPTIMIZER = Kind("optimizer", "drivetrain.optimizers", "optim")
SCHEDULER = Kind("scheduler", "drivetrain.schedulers", "lr_scheduler_type")
PRECISION = Kind("precision", "drivetrain.precisions", "precision")
STRATEGY = Kind("strategy", "drivetrain.strategies", "strategy")
REPORTER = Kind("reporter", "drivetrain.reporters", "report_to")
SEARCHER = Kind("searcher", "drivetrain.searchers", "backend")
PLUGIN = Kind("plugin", "drivetrain.plugins", "plugins")
COMMAND = Kind("command", "drivetrain.commands", "drivetrain")

KINDS: tuple[Kind, ...] = (
    OPTIMIZER,
    SCHEDULER,
    PRECISION,
    STRATEGY,
    REPORTER,
    SEARCHER,
    PLUGIN,
    COMMAND,
)


def find_kind(name: str) -> Kind:
    """Return the kind called ``name``.

    Raises:
        ValueError: There is no such kind.
    """
    for kind in KINDS:
        if kind.name == name:
            return kind
    known = ", ".join(kind.name for kind in KINDS)
    raise ValueError(f"`kind`: {name!r} is no kind of part. Kinds: {known}.")

"""What every selectable part is."""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar

from drivetrain.plugin.options import NoOptions

if TYPE_CHECKING:
    from drivetrain.arguments import TrainingArguments


class Plugin(ABC):  # noqa: B024  (a plugin that only implements hooks has no required part)
    """A part that an argument names: the base of the classes that authors derive from.

    An entry point leads to a subclass. It is made once for a run, with the run's arguments and its
    own options, and joins the run's hooks: any method marked ``@hookimpl`` and named after a hook in
    `drivetrain.hookspecs` is called.

    Attributes:
        api_version: Major version of the plugin interface that the class is written for. State it: a
            class that does not is taken to be written for version 1, and refused by a later one.
        Options: A dataclass with the part's options; its field names, types and defaults are what
            users may type.
        name: The name that the user typed.
        title: Name and distribution, as messages give them: ``'lion' (drivetrain-lion 1.0)``.
    """

    api_version: ClassVar[int] = 1
    Options: ClassVar[type[Any]] = NoOptions
    name: str = ""
    title: str = ""

    def __init__(self, args: TrainingArguments, options: Any = None) -> None:
        self.args = args
        self.options = self.Options() if options is None else options

    def problems(self) -> Iterable[str]:
        """Say what stands against using this part with these arguments on this machine.

        Called when the arguments are made, before there is a model. Each string is a whole message:
        the option in backticks, what is wrong, what to type. None by default.
        """
        return ()

    def warnings(self) -> Iterable[str]:
        """Say what will work otherwise than the arguments may lead one to expect; logged once."""
        return ()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.options!r})"

"""What every selectable part is."""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterable, Mapping
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
        unused_arguments: Published arguments that this part has no use for where others of its kind do,
            such as ``adam_beta2`` for SGD. Setting one to something else than its default is said once.
        needs_libraries: Modules that it cannot do without although its distribution does not require them,
            such as those for hardware that few have, with what to type to get each: ``{"torch_xla": "pip
            install torch_xla"}``. `drivetrain doctor` and `drivetrain plugins show` tell which are missing;
            that a run cannot be made without them is for `problems` to say.
        name: The name that the user typed.
        option: The argument that asked for it: ``"optim"``.
        title: Name and distribution, as messages give them: ``'lion' (drivetrain-lion 1.0)``.
    """

    api_version: ClassVar[int] = 1
    Options: ClassVar[type[Any]] = NoOptions
    unused_arguments: ClassVar[tuple[str, ...]] = ()
    needs_libraries: ClassVar[Mapping[str, str]] = {}
    name: str = ""
    option: str = ""
    title: str = ""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if isinstance(cls.unused_arguments, str):
            raise TypeError(f"`unused_arguments` of {cls.__name__} is a text; write a tuple of names")
        if not isinstance(cls.needs_libraries, Mapping):
            raise TypeError(
                f"`needs_libraries` of {cls.__name__} is no dict of modules and what to type to get them"
            )

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
        """Say what will work otherwise than the arguments may lead one to expect; logged once.

        By default: the arguments in `unused_arguments` that were set. An override adds to these.
        """
        for argument in self.unused_arguments:
            if not self.args.is_default(argument):
                yield (
                    f"`{argument}`: {getattr(self.args, argument)!r} has no effect with "
                    f"`{self.option}`={self.name!r}, which does not use it."
                )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.options!r})"

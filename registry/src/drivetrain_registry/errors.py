"""What can go wrong between a name and the part behind it: one class a case.

Every message names the option, the value, what is wrong with it, what is allowed and what to type.
"""

from __future__ import annotations


class UsageError(ValueError):
    """What was asked for cannot work, and whoever asked can change it: the message says how.

    It is whole by itself, so that a script may print it instead of a traceback.
    """


class RegistryError(UsageError):
    """A name did not lead to a usable part.

    Attributes:
        option: The argument that held the name, such as ``"optim"``.
        value: What it held.
    """

    def __init__(self, option: str, value: str, explanation: str) -> None:
        super().__init__(f"`{option}`: {value!r} {explanation}")
        self.option = option
        self.value = value
        self.explanation = explanation

    def __reduce__(self) -> tuple[type[RegistryError], tuple[str, str, str]]:
        return type(self), (self.option, self.value, self.explanation)


class UnknownNameError(RegistryError):
    """Nothing that is installed or registered provides the name."""


class AmbiguousNameError(RegistryError):
    """Several distributions provide the name."""


class UnknownDistributionError(RegistryError):
    """A qualified name gives a distribution that does not provide it."""


class DottedPathError(RegistryError):
    """A dotted path leads to no object."""


class BrokenPluginError(RegistryError):
    """The plugin that provides the name cannot be imported."""


class MissingLibraryError(BrokenPluginError):
    """The plugin is installed, a library that it needs is not."""


class IncompatiblePluginError(RegistryError):
    """The plugin was written for another major version of the plugin interface."""


class WrongKindError(RegistryError):
    """The name leads to an object that is no part of the kind asked for."""


class NameTakenError(RegistryError):
    """`register` was called with a name that already leads somewhere."""

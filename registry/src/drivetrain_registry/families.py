"""Families: one line of ``pyproject.toml`` for all names that a library has.

An entry point whose name ends in ``*`` stands for every name with that beginning::

    [project.entry-points."drivetrain.optimizers"]
    "po_*" = "drivetrain_pytorch_optimizer.family"

It leads to a `Family`: any object with the two functions ``names`` and ``find``, which a module is, too.
``register("optimizer", "my_*", family)`` does the same in a script. What holds for them:

- Names are whole: ``names()`` gives ``["po_soap", ...]`` and ``find("po_soap")`` the part, which is what an
  entry point of that name would lead to. They have no dot, which would make them dotted paths.
- ``find`` raises `LookupError` (``KeyError``, say) for a name that the family does not have. It returns the
  same object each time it is asked for one name.
- The family is imported when a name with its beginning is asked for, and not before: lists show the
  pattern. Errors about a name, and ``drivetrain plugins show 'po_*'``, show its members.
- A name of its own wins over families, and the family with the longer beginning over the other.
- It may state an ``api_version``, as parts do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from drivetrain_registry.discovery import Entry
from drivetrain_registry.errors import BrokenPluginError, UnknownNameError
from drivetrain_registry.kinds import Kind
from drivetrain_registry.messages import find_near, join

_MOST_EXAMPLES = 3


@runtime_checkable
class Family(Protocol):
    """What an entry point whose name ends in ``*`` leads to: many parts, each by its name."""

    def names(self) -> list[str]:
        """Every name, whole: ``["po_soap", ...]``."""

    def find(self, name: str) -> object:
        """The part behind one of them.

        Raises:
            LookupError: The family does not have it.
        """


def is_pattern(name: str) -> bool:
    """Whether a name stands for a family: ``po_*``."""
    return name.endswith("*")


def is_member(name: str, pattern: str) -> bool:
    """Whether a name has the beginning that a family claims, which a lone ``*`` does not."""
    beginning = pattern[:-1]
    is_longer = len(name) > len(beginning) > 0
    return is_pattern(pattern) and is_longer and name.startswith(beginning) and not {*".:*"} & {*name}


@dataclass(frozen=True)
class NamedFamily:
    """A family that was loaded.

    Attributes:
        kind: The kind of its parts.
        pattern: What it is known by: ``po_*``.
        family: The object behind it.
        entry: The installed entry that it came from; None if it was registered.
    """

    kind: Kind
    pattern: str
    family: Family
    entry: Entry | None = None

    @classmethod
    def around(
        cls, kind: Kind, pattern: str, part: object, entry: Entry | None, option: str, name: str
    ) -> NamedFamily:
        """Make sure that what a pattern led to is a family.

        Raises:
            BrokenPluginError: It has no ``names`` or no ``find``.
        """
        if isinstance(part, Family):
            return cls(kind, pattern, part, entry)
        raise BrokenPluginError(
            option,
            name,
            f"{_origin(entry)}leads to {part!r}, which is no family of names: it has to have the functions "
            "`names` and `find`. Tell its authors.",
        )

    def names(self, option: str, name: str) -> list[str]:
        """Every name, sorted.

        Args:
            option: The argument that the family is asked for, for messages.
            name: What the user typed, for messages.

        Raises:
            BrokenPluginError: It cannot say.
        """
        try:
            return sorted(self.family.names())
        except Exception as error:
            raise self._failed(option, name, "names", error) from error

    def find(self, option: str, name: str) -> object:
        """The part behind a name.

        Args:
            option: The argument that held it, for messages.
            name: What the user typed: the name, or ``distribution:name``.

        Raises:
            UnknownNameError: The family does not have it.
            BrokenPluginError: It raised something else than a `LookupError`.
        """
        try:
            return self.family.find(name.rpartition(":")[2])
        except LookupError as error:
            members = self.names(option, name)
            raise UnknownNameError(option, name, self._explain_no_member(name, members)) from error
        except Exception as error:
            raise self._failed(option, name, "find", error) from error

    def refuse_pattern(self, option: str, name: str) -> UnknownNameError:
        """The error for the pattern itself where one name is wanted."""
        members = self.names(option, name)
        such = join(map(repr, members[:_MOST_EXAMPLES]), "or")
        example = f", {such} for example" if such else ""
        return UnknownNameError(
            option,
            name,
            f"stands for {len(members)} {self.kind}s: type the name of one{example}. "
            f"{self._list_them(name, members)}",
        )

    def _explain_no_member(self, name: str, members: list[str]) -> str:
        beginning = self.pattern[:-1]
        rests = [member.removeprefix(beginning) for member in members]
        near = find_near(name.rpartition(":")[2].removeprefix(beginning), rests)
        guess = f" Did you mean {join((repr(beginning + rest) for rest in near), 'or')}?" if near else ""
        provider = f" of {self.entry.provider}" if self.entry else ""
        return (
            f"is none of the {len(members)} {self.kind}s called {self.pattern!r}{provider}.{guess} "
            f"{self._list_them(name, members)}"
        )

    def _list_them(self, name: str, members: list[str]) -> str:
        if self.entry:
            shown = self.entry.qualified_name if ":" in name else self.pattern  # as it was found
            return f"`drivetrain plugins show {shown!r}` lists them."
        return f"They are: {join(members) or 'none'}."

    def _failed(self, option: str, name: str, function: str, error: Exception) -> BrokenPluginError:
        return BrokenPluginError(
            option,
            name,
            f"{_origin(self.entry)}belongs to the family {self.pattern!r}, whose `{function}` raised "
            f"{type(error).__name__}: {error}. Tell its authors, or choose another {self.kind}.",
        )


def _origin(entry: Entry | None) -> str:
    return f"is provided by {entry.provider} and " if entry else ""

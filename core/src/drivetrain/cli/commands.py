"""The commands that installed distributions add: listed from metadata, imported when they are typed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from drivetrain_registry import (
    BrokenPluginError,
    IncompatiblePluginError,
    RegistryError,
    Resolved,
    UsageError,
    WrongKindError,
    default_registry,
)
from drivetrain_registry.kinds import COMMAND
from drivetrain_registry.messages import find_near, join

if TYPE_CHECKING:
    from drivetrain.plugin.command import CommandPlugin

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]
else:
    Commands = object

_BROKEN, _MISUSED = 1, 2


def describe_commands(commands: Commands) -> None:
    """Add a line to the help for each command that is installed; nothing is imported."""
    providers: dict[str, list[str]] = {}
    for entry in default_registry().entries(COMMAND):
        providers.setdefault(entry.name, []).append(entry.provider)
    for name, found in providers.items():
        if name not in commands.choices:
            commands.add_parser(name, help=f"from {join(found)}")


def run_command(
    name: str, words: Sequence[str], parser: argparse.ArgumentParser, commands: Commands
) -> int:
    """Import one command and run it.

    Args:
        name: What was typed: a name, or ``distribution:name``.
        words: The whole command line.
        parser: That of `drivetrain`.
        commands: Where it keeps its commands.

    Returns:
        The exit status.
    """
    is_claimed = ":" in name or default_registry().claims(COMMAND, name)
    near = [] if is_claimed else find_near(name, commands.choices)
    if near:
        near_names = join(map(repr, near), "or")
        parser.error(f"`{COMMAND.option}`: there is no command {name!r}. Did you mean {near_names}?")
    try:
        command = _load(name)
        own = commands.add_parser(name, help=command.help, description=_as_sentence(command.help))
        _add_arguments(command, own, name)
    except (BrokenPluginError, IncompatiblePluginError, WrongKindError) as error:
        print(error, file=sys.stderr)
        return _BROKEN
    except RegistryError as error:
        parser.error(str(error))
    args = parser.parse_args(words)
    try:
        return command.run(args)
    except UsageError as error:
        print(f"{own.prog}: {error}", file=sys.stderr)
        return _MISUSED


def _load(name: str) -> CommandPlugin:
    from drivetrain.plugin.command import CommandPlugin

    resolved = default_registry().load(COMMAND, name)
    cls = resolved.part
    if not (isinstance(cls, type) and issubclass(cls, CommandPlugin)):
        raise WrongKindError(
            COMMAND.option,
            name,
            f"{_origin(resolved)}leads to {cls!r}, which is no command: it takes a subclass of "
            "drivetrain.plugin.CommandPlugin.",
        )
    try:
        return cls()
    except Exception as error:
        raise _failed(resolved, "__init__", error) from error


def _add_arguments(command: CommandPlugin, own: argparse.ArgumentParser, name: str) -> None:
    try:
        command.add_arguments(own)
    except Exception as error:
        resolved = default_registry().load(COMMAND, name)
        raise _failed(resolved, "add_arguments", error) from error


def _failed(resolved: Resolved, method: str, error: Exception) -> BrokenPluginError:
    return BrokenPluginError(
        COMMAND.option,
        resolved.name,
        f"{_origin(resolved)}is broken: its `{method}` raised {type(error).__name__}: {error}. "
        "Tell its authors.",
    )


def _origin(resolved: Resolved) -> str:
    return f"is provided by {resolved.entry.provider} and " if resolved.entry else ""


def _as_sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}." if text else ""

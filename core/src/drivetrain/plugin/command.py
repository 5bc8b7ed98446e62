"""The base class of commands that a distribution adds to the command line."""

from __future__ import annotations

import argparse
from abc import ABC, abstractmethod
from typing import ClassVar


class CommandPlugin(ABC):
    """A command of `drivetrain`. For the entry-point group ``drivetrain.commands``.

    The name of the entry point is the command: with ``count = "drivetrain_count.command:Count"`` users type
    ``drivetrain count FILE``. It is imported when it is typed and not before, not even for ``drivetrain
    --help``. It is no part of a run: it is made without arguments, and hooks do not reach it.

    A whole plugin::

        class Count(CommandPlugin):
            help = "count the lines of a log"

            def add_arguments(self, parser):
                parser.add_argument("file", metavar="FILE")

            def run(self, args):
                print(len(Path(args.file).read_text().splitlines()))
                return 0

    Attributes:
        api_version: Major version of the plugin interface that the class is written for.
        help: What it does, in a line that begins with a small letter and has no full stop.
    """

    api_version: ClassVar[int] = 1
    help: ClassVar[str] = ""

    @abstractmethod
    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Say what can be typed behind the command."""
        raise NotImplementedError

    @abstractmethod
    def run(self, args: argparse.Namespace) -> int:
        """Do it.

        Returns:
            The exit status: 0, or 1 if something is broken.

        Raises:
            UsageError: What was asked for cannot be done. Its text is printed, and the status is 2.
        """
        raise NotImplementedError

"""The command `drivetrain`: what is installed, what one plugin offers, and whether each one loads.

Distributions add commands of their own. The modules behind the commands are imported when their command
runs: a listing imports no torch.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from drivetrain.cli.commands import Commands, describe_commands, run_command
from drivetrain_registry import KINDS

_KIND_NAMES = [kind.name for kind in KINDS]
_INTERRUPTED, _PIPE_CLOSED = 130, 141  # 128 and the signal's number, as shells have it

_EPILOG = """\
drivetrain plugins                    every name that an argument can hold
drivetrain plugins show adamw_torch   its options, and what to type
drivetrain doctor                     load each plugin by itself and report
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status: 0, 1 if something is broken, 2 if misused."""
    try:
        status = _run(argv)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:  # `drivetrain plugins | head`: nobody reads on, which is no error
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _PIPE_CLOSED


def _run(argv: Sequence[str] | None) -> int:
    words = list(sys.argv[1:] if argv is None else argv)
    parser, commands = _make_parser()
    typed = next((word for word in words if not word.startswith("-")), None)
    if typed is None:
        describe_commands(commands)
    elif typed not in commands.choices:
        return run_command(typed, words, parser, commands)
    args = parser.parse_args(words)
    if args.version:
        return _print_version()
    if args.command == "plugins" and args.action == "show":
        from drivetrain.cli.show import show_plugin

        return show_plugin(args.name, args.kind, as_json=args.json)
    if args.command == "plugins":
        from drivetrain.cli.plugins import list_plugins

        return list_plugins(args.kind, as_json=args.json)
    if args.command == "doctor":
        from drivetrain.cli.doctor import examine

        return examine(args.timeout, as_json=args.json)
    parser.print_help()
    return 0


def _make_parser() -> tuple[argparse.ArgumentParser, Commands]:
    parser = argparse.ArgumentParser(
        prog="drivetrain",
        description="Shows the plugins of drivetrain that are installed here; some add commands.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="store_true", help="show versions and exit")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    _add_plugins(commands)
    _add_doctor(commands)
    return parser, commands


def _add_plugins(commands: Commands) -> None:
    text = "list every installed name by kind, without importing any of them"
    plugins = commands.add_parser("plugins", help=text, description=f"{text.capitalize()}.")
    plugins.add_argument("--kind", choices=_KIND_NAMES, metavar="KIND", help=", ".join(_KIND_NAMES))
    plugins.add_argument("--json", action="store_true", help="print JSON")
    actions = plugins.add_subparsers(dest="action", metavar="ACTION", title="actions")
    text = "load one plugin and print its options"
    show = actions.add_parser("show", help=text, description=f"{text.capitalize()}.")
    show.add_argument("name", metavar="NAME", help="a name, distribution:name, or a dotted path")
    # Without SUPPRESS the defaults here would overwrite what was given before the word "show".
    show.add_argument(
        "--kind",
        choices=_KIND_NAMES,
        metavar="KIND",
        default=argparse.SUPPRESS,
        help="of this kind only",
    )
    show.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print JSON")


def _add_doctor(commands: Commands) -> None:
    text = "load each installed plugin in a process of its own and report"
    doctor = commands.add_parser(
        "doctor",
        help=text,
        description=f"{text.capitalize()}. The exit status is 1 if a plugin is broken; a name that two "
        "distributions claim is reported, and breaks nothing that names its distribution.",
    )
    doctor.add_argument(
        "--timeout",
        type=_positive_seconds,
        default=120.0,
        metavar="SECONDS",
        help="how long loading one plugin may take (default: 120)",
    )
    doctor.add_argument("--json", action="store_true", help="print JSON")


def _positive_seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds above 0. Type --timeout 60")
    return seconds


def _print_version() -> int:
    from drivetrain.cli.versions import read_versions

    versions = read_versions()
    print(f"drivetrain {versions.pop('drivetrain-core', '(not installed)')}")
    for name, version in versions.items():
        print(f"{name} {version}")
    return 0

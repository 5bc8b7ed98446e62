"""Commands that installed distributions add: listed without an import, and run when they are typed."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable

import pytest

Install = Callable[..., None]
Run = Callable[..., subprocess.CompletedProcess[str]]

GROUP = "drivetrain.commands"
COUNT = """
from drivetrain.plugin import CommandPlugin, UsageError

class Count(CommandPlugin):
    \"\"\"Counts letters.\"\"\"

    help = "count the letters of a word"

    def add_arguments(self, parser):
        parser.add_argument("word", metavar="WORD")
        parser.add_argument("--only", help="of this letter")

    def run(self, args):
        if args.only is not None and len(args.only) != 1:
            raise UsageError(f"`--only`: {args.only!r} is no letter. Type --only e")
        print(len(args.word) if args.only is None else args.word.count(args.only))
        return 3 if args.word == "three" else 0
"""
UNFINISHED = """
from drivetrain.plugin import CommandPlugin

class Count(CommandPlugin):
    def run(self, args):
        return 0
"""
RAISES = """
from drivetrain.plugin import CommandPlugin

class Count(CommandPlugin):
    def add_arguments(self, parser):
        parser.add_argument("--help")

    def run(self, args):
        return 0
"""


@pytest.fixture
def count(install: Install) -> None:
    install("acme", "2.1", source=COUNT, group=GROUP, count="Count")


@pytest.mark.usefixtures("count")
def test_a_command_gets_what_is_typed_behind_it(run: Run) -> None:
    done = run("count", "letters", "--only", "t")
    assert (done.returncode, done.stdout, done.stderr) == (0, "2\n", "")


@pytest.mark.usefixtures("count")
def test_what_it_returns_is_the_exit_status(run: Run) -> None:
    assert run("count", "three").returncode == 3


@pytest.mark.usefixtures("count")
def test_its_own_help_names_it_and_its_options(run: Run) -> None:
    done = run("count", "--help")
    assert done.returncode == 0
    assert done.stdout.startswith("usage: drivetrain count [-h] [--only ONLY] WORD\n")
    assert "Count the letters of a word." in done.stdout


@pytest.mark.usefixtures("count")
def test_what_cannot_be_done_is_a_line_and_misuse(run: Run) -> None:
    done = run("count", "letters", "--only", "tt")
    assert done.stderr == "drivetrain count: `--only`: 'tt' is no letter. Type --only e\n"
    assert (done.returncode, done.stdout) == (2, "")
    assert run("count").returncode == 2


def test_the_help_lists_commands_without_importing_them(install: Install, run: Run) -> None:
    install("acme", "2.1", source="raise SystemExit('imported')", group=GROUP, count="Count")
    for words in ([], ["--help"]):
        done = run(*words)
        assert done.returncode == 0
        assert any(line.split() == ["count", "from", "acme", "2.1"] for line in done.stdout.splitlines())


def test_only_the_command_that_is_typed_is_imported(install: Install, run: Run) -> None:
    install("acme", source=COUNT, group=GROUP, count="Count")
    install("broken", source="raise SystemExit('imported')", group=GROUP, weigh="Weigh")
    assert run("count", "word").stdout == "4\n"
    assert run("plugins").returncode == 0


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import no_such_module", "No module named 'no_such_module'"),
        ("raise SystemExit(0)", "raised SystemExit"),
        ("x = 1", "has no attribute 'Count'"),
        ("Count = len", "which is no command: it takes a subclass of drivetrain.plugin.CommandPlugin"),
        (UNFINISHED, "raised TypeError: Can't instantiate abstract class Count"),
        (RAISES, "its `add_arguments` raised ArgumentError: argument --help: conflicting"),
    ],
    ids=["no library", "exit", "no attribute", "other", "not complete", "raises"],
)
def test_a_broken_command_names_its_distribution(
    install: Install, run: Run, source: str, reason: str
) -> None:
    install("acme", "2.1", source=source, group=GROUP, count="Count")
    done = run("count", "word")
    assert done.returncode == 1
    assert "'count'" in done.stderr
    assert "acme 2.1" in done.stderr
    assert reason in done.stderr
    assert "Traceback" not in done.stderr


def test_a_command_that_is_not_installed_says_what_to_install(run: Run) -> None:
    done = run("report", "runs/1")
    assert done.returncode == 2
    assert "Type: pip install drivetrain-report" in done.stderr


@pytest.mark.usefixtures("count")
def test_a_misspelt_command_is_answered_with_the_near_ones(run: Run) -> None:
    assert "Did you mean 'count'?" in run("cuont", "word").stderr
    done = run("plugin")
    assert done.returncode == 2
    assert "there is no command 'plugin'. Did you mean 'plugins'?" in done.stderr


def test_where_two_distributions_have_a_command_the_distribution_says_which(
    install: Install, run: Run
) -> None:
    install("acme", source=COUNT, group=GROUP, count="Count")
    install("other", source=COUNT.replace("print(", "print('other', "), group=GROUP, count="Count")
    done = run("count", "word")
    assert done.returncode == 2
    assert "type 'acme:count' or 'other:count'" in done.stderr
    assert run("other:count", "word").stdout == "other 4\n"
    assert "Type drivetrain acme:count for this one." in run("plugins").stdout


def test_a_command_does_not_take_the_place_of_one_that_is_built_in(install: Install, run: Run) -> None:
    install("acme", source=COUNT, group=GROUP, plugins="Count")
    assert "KIND" in run("plugins").stdout
    assert run("acme:plugins", "word").stdout == "4\n"
    assert run("--help").returncode == 0


@pytest.mark.usefixtures("count")
def test_commands_are_among_the_plugins(run: Run) -> None:
    (listed,) = json.loads(run("plugins", "--kind", "command", "--json").stdout)
    assert (listed["kind"], listed["name"], listed["distribution"]) == ("command", "count", "acme")
    shown = run("plugins", "show", "count").stdout
    assert shown.startswith("command count\n  from      acme 2.1\n")
    assert "Counts letters." in shown
    assert shown.endswith("Type: drivetrain count --help\n")
    assert "argument" not in shown


@pytest.mark.usefixtures("count")
def test_the_doctor_loads_commands(install: Install, run: Run) -> None:
    assert run("doctor").returncode == 0
    install("broken", source=UNFINISHED, group=GROUP, weigh="Count")
    done = run("doctor")
    assert done.returncode == 1
    assert "leads to Count, which does not define add_arguments." in done.stdout

"""`drivetrain plugins show NAME`: one plugin, loaded."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from drivetrain.cli import main

Install = Callable[..., None]
Run = Callable[..., subprocess.CompletedProcess[str]]

LINES = """
from drivetrain.plugin import ReporterPlugin

class Lines(ReporterPlugin):
    def log(self, values, step): ...
"""


def show_as_json(run: Run, *args: str) -> list[dict[str, Any]]:
    done = run("plugins", "show", "--json", *args)
    assert (done.returncode, done.stderr) == (0, "")
    return list(json.loads(done.stdout))


def test_a_page_says_what_the_plugin_says_about_itself(install: Install, run: Run) -> None:
    install("drivetrain-lion", "1.2", lion="Lion")
    done = run("plugins", "show", "lion")
    assert done.stdout.splitlines() == [
        "optimizer lion",
        "  from      drivetrain-lion 1.2",
        "  code      drivetrain_lion:Lion",
        "  argument  `optim`, options in `optim_args`",
        "",
        "Sign of the momentum (arXiv:2302.06675).",
        "",
        "OPTION  TYPE                 DEFAULT",
        "betas   tuple[float, float]  (0.9, 0.99)",
        "kind    str | None           None",
        "",
        "It cannot be combined with",
        "  fp16: it has no scale",
        "",
        "It does not use: adam_epsilon",
        "",
        'Type: TrainingArguments("out", optim="lion", optim_args="betas=(0.9, 0.99)")',
    ]
    assert (done.returncode, done.stderr) == (0, "")


def test_a_part_that_says_little_has_a_short_page(install: Install, run: Run) -> None:
    install("acme", source=LINES, group="drivetrain.reporters", lines="Lines")
    assert run("plugins", "show", "lines").stdout.splitlines() == [
        "reporter lines",
        "  from      acme 1.0",
        "  code      acme:Lines",
        "  argument  `report_to`, options in `reporter_args`",
        "",
        "It has no options.",
        "",
        'Type: TrainingArguments("out", report_to=["lines"])',
    ]


def test_json_has_the_same(install: Install, run: Run) -> None:
    install("drivetrain-lion", "1.2", lion="Lion")
    (page,) = show_as_json(run, "lion")
    assert page == {
        "kind": "optimizer",
        "name": "lion",
        "distribution": "drivetrain-lion",
        "version": "1.2",
        "code": "drivetrain_lion:Lion",
        "summary": "Sign of the momentum (arXiv:2302.06675).",
        "argument": "optim",
        "options_argument": "optim_args",
        "options": [
            {"name": "betas", "type": "tuple[float, float]", "default": "(0.9, 0.99)", "help": ""},
            {"name": "kind", "type": "str | None", "default": "None", "help": ""},
        ],
        "example": 'TrainingArguments("out", optim="lion", optim_args="betas=(0.9, 0.99)")',
        "cannot": {"fp16": "it has no scale"},
        "unused_arguments": ["adam_epsilon"],
        "suits": [],
        "state_bytes": None,
        "paper": "",
        "missing_libraries": {},
    }


def test_a_page_says_what_an_optimizer_is_good_for_and_costs(install: Install, run: Run) -> None:
    source = """
from drivetrain.plugin import OptimizerPlugin

class Part(OptimizerPlugin):
    '''Half of Adam.'''
    paper = "Symbolic Discovery, arXiv:2302.06675"
    state_bytes = 4.0
    suits = ("little memory", "fewer steps")
    def build(self): ...
"""
    install("acme", source=source, lion="Part")
    lines = run("plugins", "show", "lion").stdout.splitlines()
    assert lines[5:10] == [
        "Half of Adam.",
        "",
        "  suits     little memory, fewer steps",
        "  state     4 bytes for each parameter of a 1024 x 1024 float32 matrix",
        "  paper     Symbolic Discovery, arXiv:2302.06675",
    ]


def test_a_page_says_which_libraries_are_missing(install: Install, run: Run) -> None:
    source = """
from drivetrain.plugin import OptimizerPlugin

class Part(OptimizerPlugin):
    needs_libraries = {"json": "pip install json", "rarelib": "pip install rarelib"}
    def build(self): ...
"""
    install("acme", source=source, lion="Part")
    lines = run("plugins", "show", "lion").stdout.splitlines()
    assert "It needs rarelib, which is not installed. Type: pip install rarelib" in lines
    assert show_as_json(run, "lion")[0]["missing_libraries"] == {"rarelib": "pip install rarelib"}


@pytest.mark.parametrize(
    ("options", "example"),
    [
        ("path: str", 'optim_args="path=..."'),
        ("path: str = 'a'", "optim_args=\"path='a'\""),
        ('path: str = "it\'s"', "optim_args='path=\"it\\'s\"'"),
        ("a: int = 1; b: int = 2; c: int = 3", 'optim_args="a=1, b=2"'),
    ],
)
def test_the_example_can_be_typed(install: Install, run: Run, options: str, example: str) -> None:
    source = f"""
from dataclasses import dataclass
from drivetrain.plugin import OptimizerPlugin
@dataclass
class Options: {options}
class Part(OptimizerPlugin):
    Options = Options
    def build(self): ...
"""
    install("acme", source=source, lion="Part")
    (page,) = show_as_json(run, "lion")
    assert page["example"] == f'TrainingArguments("out", optim="lion", {example})'
    compile(page["example"], "example", "eval")


# -- names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind_first", [True, False])
def test_a_name_in_two_kinds_has_two_pages_unless_one_kind_is_asked_for(
    install: Install, run: Run, kind_first: bool
) -> None:
    install("drivetrain-lion", same="Lion")
    install("acme", source=LINES, group="drivetrain.reporters", same="Lines")
    assert [page["kind"] for page in show_as_json(run, "same")] == ["optimizer", "reporter"]
    assert run("plugins", "show", "same").stdout.count("\n\nreporter same\n") == 1
    kind = ("--kind", "reporter")
    args = ("plugins", *kind, "show", "same") if kind_first else ("plugins", "show", *kind, "same")
    lines = run(*args).stdout.splitlines()
    assert lines[0] == "reporter same"
    assert "optimizer same" not in lines


def test_a_qualified_name_works(install: Install, run: Run) -> None:
    install("one", lion="Lion")
    install("two", lion="Plain")
    (page,) = show_as_json(run, "two:lion")
    assert (page["distribution"], page["name"]) == ("two", "lion")
    assert page["example"] == 'TrainingArguments("out", optim="two:lion")'


def test_a_dotted_path_works_from_the_current_folder(
    install: Install, run: Run, own_folder: Path, site: Path
) -> None:
    install("drivetrain-lion", lion="Lion")
    (own_folder / "mine.py").write_text("from drivetrain_lion import Lion\n" + LINES)
    (page,) = show_as_json(run, "mine.Lion")
    assert (page["kind"], page["distribution"], page["code"]) == ("optimizer", "", "mine.Lion")
    (page,) = show_as_json(run, "mine.Lines")
    assert page["kind"] == "reporter"
    assert "  from      code that is not packaged" in run("plugins", "show", "mine.Lines").stdout


def test_a_bare_optimizer_class_is_shown_as_it_would_be_used(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plugins", "show", "torch.optim.SGD", "--json"]) == 0
    (page,) = json.loads(capsys.readouterr().out)
    assert (page["kind"], page["argument"]) == ("optimizer", "optim")
    assert {"name": "momentum", "type": "float", "default": "0", "help": ""} in page["options"]
    assert page["example"].startswith(
        'TrainingArguments("out", optim="torch.optim.SGD", optim_args="momentum=0, '
    )


def test_code_that_can_be_no_part_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plugins", "show", "collections.OrderedDict"]) == 1
    assert "leads to <class 'collections.OrderedDict'>, which is no plugin" in capsys.readouterr().err


# -- errors ---------------------------------------------------------------------------------------


def check_error(done: subprocess.CompletedProcess[str], status: int, *says: str) -> None:
    assert (done.returncode, done.stdout) == (status, "")
    assert len(done.stderr.splitlines()) == 1, done.stderr
    for text in says:
        assert text in done.stderr


def test_an_unknown_name_gets_the_near_matches(install: Install, run: Run) -> None:
    install("drivetrain-lion", lion="Lion")
    install("acme", source=LINES, group="drivetrain.reporters", lines="Lines")
    check_error(
        run("plugins", "show", "lionn"), 2, "`optim`: 'lionn' is not installed. Did you mean 'lion'?"
    )
    check_error(
        run("plugins", "show", "linse"), 2, "`report_to`: 'linse' is not installed. Did you mean 'lines'"
    )
    check_error(run("plugins", "show", "xyz"), 2, "'xyz' is not installed. Installed: lion.")


def test_an_unknown_name_of_the_catalogue_gets_the_pip_line(run: Run) -> None:
    check_error(
        run("plugins", "show", "cosine"), 2, "`lr_scheduler_type`", "pip install drivetrain-torch"
    )


def test_a_name_of_another_kind_is_pointed_to(install: Install, run: Run) -> None:
    install("drivetrain-lion", lion="Lion")
    done = run("plugins", "show", "lion", "--kind", "reporter")
    check_error(done, 2, "It is the name of an optimizer: `optim`='lion'.")


def test_an_ambiguous_name_has_to_be_qualified(install: Install, run: Run) -> None:
    install("one", lion="Lion")
    install("two", lion="Lion")
    check_error(run("plugins", "show", "lion"), 2, "type 'one:lion' or 'two:lion'")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("acme:lion", "names the distribution 'acme', which provides no installed plugin"),
        ("one:tiger", "names one 1.0, which provides no optimizer 'tiger'"),
        ("no.such.Thing", "`NAME`: 'no.such.Thing' is a dotted path, and importing 'no.such' raised"),
        ("json.dumsp", "Did you mean 'json.dump"),
    ],
)
def test_a_name_that_leads_nowhere_is_misuse(install: Install, run: Run, name: str, says: str) -> None:
    install("one", lion="Lion")
    check_error(run("plugins", "show", name), 2, says)


def test_a_broken_plugin_is_explained_without_a_traceback(install: Install, run: Run) -> None:
    install("acme", source="raise RuntimeError('no licence')", lion="Lion")
    check_error(
        run("plugins", "show", "lion"), 1, "acme 1.0, which is broken", "RuntimeError: no licence"
    )


def test_a_plugin_whose_library_is_missing_gets_the_pip_line(install: Install, run: Run) -> None:
    install("acme", source="import lionlib", requires=["lionlib>=2"], lion="Lion")
    check_error(run("plugins", "show", "lion"), 1, 'Type: pip install "lionlib>=2"')


def test_a_plugin_for_another_interface_is_refused(install: Install, run: Run) -> None:
    install("acme", source="class Lion: api_version = 7", lion="Lion")
    check_error(run("plugins", "show", "lion"), 1, "was written for version 7 of the plugin interface")


def test_a_part_of_another_kind_is_refused(install: Install, run: Run) -> None:
    install("acme", source="class Lines: ...", group="drivetrain.reporters", lines="Lines")
    check_error(
        run("plugins", "show", "lines"), 1, "which is no reporter", "drivetrain.plugin.ReporterPlugin"
    )


@pytest.mark.parametrize(
    "options", ["int", "dataclass(type('O', (), {'__annotations__': {'x': 'Nowhere'}}))"]
)
def test_options_that_cannot_be_read_are_the_plugins_fault(
    install: Install, run: Run, options: str
) -> None:
    source = f"""
from dataclasses import dataclass
from drivetrain.plugin import OptimizerPlugin
class Part(OptimizerPlugin):
    Options = {options}
    def build(self): ...
"""
    install("acme", source=source, lion="Part")
    check_error(run("plugins", "show", "lion"), 1, "acme 1.0, and its `Options` cannot be read: ")


OPTIONED = """
from dataclasses import dataclass
from drivetrain.plugin import ReporterPlugin

@dataclass
class Options:
    prefix: str = "a"

class Lines(ReporterPlugin):
    Options = Options
    def log(self, values, step): ...
"""


def test_options_of_a_reporter_are_typed_by_its_name(install: Install, run: Run) -> None:
    install("acme", source=OPTIONED, group="drivetrain.reporters", lines="Lines")
    said = run("plugins", "show", "lines").stdout
    assert "argument  `report_to`, options in `reporter_args`" in said
    example = said.rpartition("Type: ")[2].strip()
    options = """reporter_args={"lines": {"prefix": 'a'}}"""
    assert example == f'TrainingArguments("out", report_to=["lines"], {options})'


HELPED = """
from dataclasses import dataclass, field
from drivetrain.plugin import ReporterPlugin

@dataclass
class Options:
    '''What it can do.

    Attributes:
        tags: Labels, as ``a``,
            or more of them.
        notes: Not this one.
    '''

    tags: str | None = None
    notes: str | None = field(default=None, metadata={"help": "A text " + "about it " * 12})
    group: str | None = None

class Lines(ReporterPlugin):
    Options = Options
    def log(self, values, step): ...
"""


def test_below_an_option_stands_what_it_does(install: Install, run: Run) -> None:
    install("acme", source=HELPED, group="drivetrain.reporters", lines="Lines")
    lines = run("plugins", "show", "lines").stdout.splitlines()
    begin = lines.index("OPTION  TYPE        DEFAULT")
    assert lines[begin + 1 : begin + 7] == [
        "tags    str | None  None",
        "    Labels, as `a`, or more of them.",
        "notes   str | None  None",
        "    A text" + " about it" * 10,
        "    about it about it",
        "group   str | None  None",
    ]
    (page,) = show_as_json(run, "lines")
    assert [option["help"][:8] for option in page["options"]] == ["Labels, ", "A text a", ""]


def test_an_option_without_a_default_to_type_shows_how_one_is_given(install: Install, run: Run) -> None:
    install("acme", source=HELPED, group="drivetrain.reporters", lines="Lines")
    (page,) = show_as_json(run, "lines")
    assert page["example"].endswith(', reporter_args={"lines": {"tags": ...}})')
    compile(page["example"], "example", "eval")

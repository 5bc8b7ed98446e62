"""The command itself: help, versions, misuse, and pipes that close."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import drivetrain
from drivetrain.cli import main, tables

Install = Callable[..., None]
Run = Callable[..., subprocess.CompletedProcess[str]]


def test_without_arguments_the_help_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    shown = capsys.readouterr().out
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["--help"])
    assert capsys.readouterr().out == shown
    assert "drivetrain plugins show adamw_torch" in shown
    assert len(shown.splitlines()) < 25


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"drivetrain {drivetrain.__version__}"
    assert f"python {platform.python_version()}" in lines
    assert any(line.startswith("torch ") for line in lines)


def test_the_console_script_is_the_same_command() -> None:
    script = Path(sys.executable).with_name("drivetrain")
    done = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"drivetrain {drivetrain.__version__}\n")


@pytest.mark.parametrize(
    "args", [["plugin"], ["plugins", "--kind", "optimizers"], ["plugins", "show"], ["--x"]]
)
def test_misuse_has_a_status_of_its_own(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"^2$"):
        main(args)
    assert "usage: drivetrain" in capsys.readouterr().err


def test_a_kind_that_does_not_exist_is_answered_with_those_that_do(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        main(["plugins", "--kind", "optimizers"])
    assert "optimizer" in capsys.readouterr().err.splitlines()[-1]


def test_a_reader_that_goes_away_is_no_error(install: Install, environment: dict[str, str]) -> None:
    names = {f"lion_{number:04}": "Lion" for number in range(2000)}  # more than a pipe holds
    install("acme", **names)
    process = subprocess.Popen(
        [sys.executable, "-S", "-m", "drivetrain.cli", "plugins"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline().startswith("KIND")
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait() == 141


def test_ctrl_c_in_a_command_is_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*args: object, **kwargs: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("drivetrain.cli.plugins.list_plugins", interrupt)
    assert main(["plugins"]) == 130


# -- tables ---------------------------------------------------------------------------------------

ROWS = [("optimizer", "lion", "ok"), ("scheduler", "a_name_that_is_rather_long", "module missing")]


def test_a_table_is_as_wide_as_its_cells() -> None:
    assert tables.format_table(("KIND", "NAME", "STATE"), ROWS) == [
        "KIND       NAME                        STATE",
        "optimizer  lion                        ok",
        "scheduler  a_name_that_is_rather_long  module missing",
    ]


def test_a_table_fits_a_narrow_terminal() -> None:
    assert tables.format_table(("KIND", "NAME", "STATE"), ROWS, 46) == [
        "KIND       NAME                 STATE",
        "optimizer  lion                 ok",
        "scheduler  a_name_that_is_r...  module missing",
    ]
    assert max(map(len, tables.format_table(("KIND", "NAME", "STATE"), ROWS, 10))) == 8 * 3 + 2 * 2


def test_a_table_without_rows_is_its_header() -> None:
    assert tables.format_table(("KIND", "NAME"), []) == ["KIND  NAME"]


def test_only_a_terminal_has_a_width(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tables.terminal_width() is None
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setattr("shutil.get_terminal_size", lambda: os.terminal_size((72, 20)))
    assert tables.terminal_width() == 72

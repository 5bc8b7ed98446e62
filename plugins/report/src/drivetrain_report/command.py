"""`drivetrain report RUN [RUN ...]`: a page from what runs left in their folders."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from drivetrain.plugin import CommandPlugin, UsageError

if TYPE_CHECKING:
    from drivetrain_report.runs import RunRecord


class Report(CommandPlugin):
    """Reads what runs left in their folders and writes one HTML page about them, and maybe a PNG picture."""

    help = "make an HTML page of what one or more runs left in their folders"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("runs", nargs="+", metavar="RUN", help="the `output_dir` of a run")
        parser.add_argument(
            "--output",
            metavar="FILE.html",
            help="where to write the page (default: report.html in the folder of the first run)",
        )
        parser.add_argument("--png", action="store_true", help="also draw the curves into FILE.png")
        parser.add_argument("--open", action="store_true", help="show the page in the browser")
        parser.add_argument(
            "--force", action="store_true", help="replace files that this command did not write"
        )

    def run(self, args: argparse.Namespace) -> int:
        from drivetrain_report.page import MARK
        from drivetrain_report.runs import read_runs
        from drivetrain_report.writing import MARK_IN_PICTURES, refuse_to_replace

        runs = read_runs(args.runs)
        page = choose_output(args.output, runs)
        picture = page.with_suffix(".png")
        refuse_to_replace(page, MARK, force=args.force)
        if args.png:
            refuse_to_replace(picture, MARK_IN_PICTURES, force=args.force)
        _write_page(runs, page)
        if args.png:
            _write_picture(runs, picture)
        if args.open:
            _show(page)
        return 0


def choose_output(given: str | None, runs: Sequence[RunRecord]) -> Path:
    """The file to write.

    Raises:
        UsageError: The name that was given is not one of a page.
    """
    if given is None:
        return runs[0].folder / "report.html"
    if Path(given).suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"`--output`: {given!r} is no name of a page. Type --output {given}.html")
    return Path(given)


def _write_page(runs: Sequence[RunRecord], file: Path) -> None:
    from drivetrain_report.page import make_page
    from drivetrain_report.writing import write_whole

    text = make_page(runs)
    write_whole(file, lambda path: _write_text(path, text))
    print(file)


def _write_text(path: str, text: str) -> None:
    Path(path).write_text(text, "utf-8")


def _write_picture(runs: Sequence[RunRecord], file: Path) -> None:
    from drivetrain_report.picture import draw_picture, save_picture
    from drivetrain_report.writing import write_whole

    figure = draw_picture(runs)
    write_whole(file, lambda path: save_picture(figure, path))
    print(file)


def _show(file: Path) -> None:
    import webbrowser

    if not webbrowser.open(file.resolve().as_uri()):
        raise UsageError(f"`--open`: there is no browser here. The page is {str(file.resolve())!r}.")

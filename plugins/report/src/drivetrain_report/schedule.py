"""`drivetrain schedule NAME`: what a learning-rate schedule does, before anyone trains with it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from drivetrain.plugin import CommandPlugin, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from drivetrain_report.rates import Rates


class Schedule(CommandPlugin):
    """Draws the learning rate of each update under one schedule or several, and prints where it peaks."""

    help = "draw what a learning-rate schedule does"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "name",
            metavar="NAME",
            help="a `lr_scheduler_type`; its options may follow: 'polynomial, power=2'",
        )
        parser.add_argument("others", nargs="*", help=argparse.SUPPRESS)
        parser.add_argument(
            "--compare", nargs="+", default=[], metavar="NAME", help="others to draw beside it"
        )
        parser.add_argument("--options", metavar="TEXT", help="the `lr_scheduler_kwargs` of NAME")
        parser.add_argument("--steps", type=int, default=1000, help="updates of the run (default: 1000)")
        parser.add_argument(
            "--warmup",
            type=float,
            default=0.0,
            help="updates during which the rate rises, or their share of all if below 1 (default: 0)",
        )
        parser.add_argument(
            "--learning-rate", type=float, default=5e-5, metavar="RATE", help="the peak (default: 5e-5)"
        )
        parser.add_argument("--output", metavar="FILE", help="also draw it into FILE.png or FILE.html")
        parser.add_argument(
            "--force", action="store_true", help="replace a file that this command did not write"
        )

    def run(self, args: argparse.Namespace) -> int:
        from drivetrain_report.rates import Request, compute_rates, count_warmup, describe_rates
        from drivetrain_report.terminal import draw_lines

        if args.others:
            raise UsageError(
                f"`NAME`: {args.name!r} is one schedule, and {' '.join(args.others)!r} comes after it. "
                f"Type --compare {' '.join(args.others)}"
            )
        output = _check_output(args.output, force=args.force)
        request = Request(args.steps, count_warmup(args.warmup, args.steps), args.learning_rate)
        wanted = [_split(args.name, args.options), *(_split(name, None) for name in args.compare)]
        found = [compute_rates(name, options, request) for name, options in wanted]
        print("\n\n".join("\n".join(draw_lines(rates, found)) for rates in found), end="\n\n")
        print("\n".join(describe_rates(found)))
        if output is not None:
            _write(found, output)
        return 0


def _split(text: str, options: str | None) -> tuple[str, str | None]:
    """A name, and the options behind its first comma."""
    name, comma, own = text.partition(",")
    if comma and options is not None:
        raise UsageError(
            f"`--options`: {text!r} has options already. Give them in one of the two places."
        )
    return name.strip(), own.strip() if comma else options


def _check_output(given: str | None, *, force: bool) -> Path | None:
    if given is None:
        return None
    from drivetrain_report.page import MARK
    from drivetrain_report.writing import MARK_IN_PICTURES, refuse_to_replace

    marks = {".png": MARK_IN_PICTURES, ".html": MARK, ".htm": MARK}
    file = Path(given)
    if file.suffix.lower() not in marks:
        raise UsageError(
            f"`--output`: {given!r} is neither a .png nor a .html. Type --output {file.with_suffix('.png')}"
        )
    refuse_to_replace(file, marks[file.suffix.lower()], force=force)
    return file


def _write(found: Sequence[Rates], file: Path) -> None:
    from drivetrain_report.rate_charts import save_as_page, save_as_picture
    from drivetrain_report.writing import write_whole

    save = save_as_picture if file.suffix.lower() == ".png" else save_as_page
    write_whole(file, lambda path: save(found, path))
    print(file, file=sys.stderr)

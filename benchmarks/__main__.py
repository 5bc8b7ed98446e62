"""Benchmarks of drivetrain beside a bare loop in PyTorch and other trainers.

    python benchmarks                                     # the list
    python benchmarks loop [startup ...] [--quick] [--output-dir docs/benchmarks]
    python benchmarks all
    python benchmarks optimizers -- --names sgd muon      # a script with options of its own

Each prints tables, and writes a page, a picture and the figures into the folder; with --quick into
benchmark-output, as its figures mean little. One that fails does not keep the next from being run.
Trainers that are not installed are left out: `requirements/bench.txt` has them.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import importlib
import importlib.util
import os
import subprocess
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

import progress

FOLDER = Path(__file__).resolve().parent
PAGES = FOLDER.parent / "docs" / "benchmarks"
QUICK_PAGES = Path("benchmark-output")


@dataclass(frozen=True)
class Benchmark:
    """A module in this folder.

    Attributes:
        name: What it is asked for by.
        title: The first line of its docstring.
        has_own_frame: It is a script that reads a command line and writes what it found itself.
    """

    name: str
    title: str
    has_own_frame: bool


def find_benchmarks() -> dict[str, Benchmark]:
    """Find what is there without importing it: modules with a `measure`, and scripts with a `main`."""
    found = {}
    for file in sorted(FOLDER.glob("[!_]*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        title = (ast.get_docstring(tree) or "").partition("\n")[0]
        if "measure" in functions or ("main" in functions and not file.stem.endswith("_subjects")):
            found[file.stem] = Benchmark(file.stem, title, "main" in functions)
    return found


def choose(names: list[str], found: dict[str, Benchmark]) -> list[Benchmark]:
    """The benchmarks of these names, each once; `all`: every one that fits into this frame.

    Raises:
        SystemExit: There is none of that name; the message has those that look like it.
    """
    for name in names:
        if name not in (*found, "all"):
            near = difflib.get_close_matches(name, [*found, "all"])
            hint = f"Did you mean {' or '.join(repr(one) for one in near)}? " if near else ""
            raise SystemExit(
                f"There is no benchmark {name!r}. {hint}There are: {', '.join(found)}, all."
            )
    fitting = [name for name, one in found.items() if not one.has_own_frame]
    wanted = [one for name in names for one in (fitting if name == "all" else [name])]
    return [found[name] for name in dict.fromkeys(wanted)]


def check_options(chosen: list[Benchmark], output_dir: Path | None, rest: list[str]) -> None:
    """Check that every one that is chosen has a use for the options that are given.

    Raises:
        SystemExit: One has not.
    """
    scripts = [benchmark.name for benchmark in chosen if benchmark.has_own_frame]
    if rest and len(scripts) < len(chosen):
        raise SystemExit(
            f"Only a script has options of its own: {' '.join(rest)!r} has no meaning here."
        )
    if output_dir is not None and scripts:
        raise SystemExit(
            f"`--output-dir` is not for {scripts[0]!r}, a script with options of its own: "
            f"`python benchmarks {scripts[0]} -- --help` lists them."
        )


def check_output(folder: Path) -> None:
    """Check before anything is measured that what is found can be written and drawn.

    Raises:
        SystemExit: It cannot.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise SystemExit(
            "The picture needs matplotlib, which is not installed. "
            "Type `pip install -r requirements/bench.txt`."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise SystemExit(
            f"`--output-dir`: nothing can be written into {str(folder)!r} ({error.strerror}). "
            "Name another folder."
        ) from None


def run_script(benchmark: Benchmark, arguments: list[str]) -> None:
    """Run one that has a frame of its own.

    Raises:
        SystemExit: It failed.
    """
    done = subprocess.run([sys.executable, str(FOLDER / f"{benchmark.name}.py"), *arguments])
    if done.returncode:
        raise SystemExit(f"it ended with status {done.returncode}")


def run_measure(benchmark: Benchmark, quick: bool, folder: Path) -> None:
    """Run one that gives comparisons, and report them."""
    from report import Report, print_report, write_report

    start = time.perf_counter()
    comparisons = importlib.import_module(benchmark.name).measure(quick)
    progress.clear()
    report = Report.of(benchmark.name, benchmark.title, quick, time.perf_counter() - start, comparisons)
    print_report(report)
    write_report(report, folder)
    shown = os.path.relpath(folder) if folder.is_relative_to(Path.cwd()) else folder
    print(f"\n{shown} has {benchmark.name}.md, {benchmark.name}.json and {benchmark.name}.png")


def run_all(chosen: list[Benchmark], options: argparse.Namespace, rest: list[str]) -> dict[str, str]:
    """Run one after the other; return why those failed that did, by name."""
    failed = {}
    for benchmark in chosen:
        progress.show(f"{benchmark.name}: {benchmark.title}")
        try:
            if benchmark.has_own_frame:
                run_script(benchmark, rest + ["--quick"] * (options.quick and "--quick" not in rest))
            else:
                run_measure(benchmark, options.quick, folder_of(options))
        except SystemExit as error:
            failed[benchmark.name] = str(error)
        except Exception as error:
            progress.clear()
            traceback.print_exc()
            failed[benchmark.name] = f"{type(error).__name__}: {error}"
    return failed


def folder_of(options: argparse.Namespace) -> Path:
    """Where the pages go."""
    folder: Path = options.output_dir or (QUICK_PAGES if options.quick else PAGES)
    return folder.resolve()


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="of benchmarks, or: all")
    parser.add_argument("--quick", action="store_true", help="small and short, to see that it runs")
    parser.add_argument("--output-dir", type=Path, help="for pages, figures and pictures")
    return parser.parse_args(arguments)


def main() -> None:
    """List the benchmarks, or run those that are asked for, one after the other."""
    arguments = sys.argv[1:]
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    options, rest = parse(arguments[:cut]), arguments[cut + 1 :]
    found = find_benchmarks()
    if not options.names:
        for one in found.values():
            print(f"{one.name:12} {one.title}")
        return
    os.environ["OMP_NUM_THREADS"] = "1"  # read when torch is imported
    chosen = choose(options.names, found)
    check_options(chosen, options.output_dir, rest)
    if not all(benchmark.has_own_frame for benchmark in chosen):
        check_output(folder_of(options))
    failed = run_all(chosen, options, rest)
    if failed:
        raise SystemExit("\n".join(f"{name} failed: {why}" for name, why in failed.items()))


if __name__ == "__main__":
    main()

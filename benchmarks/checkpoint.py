"""Seconds and memory of saving a checkpoint, and seconds to resume from one, beside what they come down to.

    python benchmarks/checkpoint.py [--parameters 1e8] [--rounds 7] [--steps 20000] [--folder .]
                                    [--models gpt2 layers] [--quick]

Saving is measured from where the training loop begins it to where the loop goes on, in real trainings with
AdamW, beside transformers' Trainer, beside writing as many bytes from one buffer with a flush, and (in the
background) beside copying the same tensors. transformers does not flush: it is shown as it is, and with its
files flushed after. Old checkpoints are deleted between the measurements, not in them. Resuming is measured
from the call of ``train`` to the first update, beside transformers' Trainer and beside loading the files.

Each thing runs in a process of its own, and they take turns, forwards and backwards; a ratio is that of two
measurements of the same turn, and printed are the median and, in brackets, least and most. The first turn
warms up and is not counted, except for memory: the peak of resident memory (VmHWM) during that save above
what there was before it. Before each measurement what is left to write is flushed, and the memory that
will be needed is touched: a virtual machine may have given it back to its host, and would fetch it at the
expense of whoever comes first.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MEBIBYTE = 1 << 20
HAS_TRANSFORMERS = importlib.util.find_spec("transformers") is not None
LIBRARIES = ("drivetrain", "transformers") if HAS_TRANSFORMERS else ("drivetrain",)


class Subject:
    """A process that measures something whenever it is asked; see `checkpoint_subjects.py`."""

    def __init__(self, task: dict[str, Any]) -> None:
        script = Path(__file__).with_name("checkpoint_subjects.py")
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  (open as long as the process)
        self.process = subprocess.Popen(
            [sys.executable, str(script), json.dumps(task, default=str)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
        )

    def ask(self, **request: Any) -> dict[str, Any]:
        """Have it measured once."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return self.wait()

    def wait(self) -> dict[str, Any]:
        """Wait until it is ready for a request; return the result of the one before."""
        assert self.process.stdout is not None
        answer = self.process.stdout.readline()
        if not answer:
            self.errors.seek(0)
            raise SystemExit(f"{self.process.args!r} failed:\n{self.errors.read()[-3000:]}")
        result: dict[str, Any] = json.loads(answer)
        return result

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.communicate()
        self.errors.close()


@contextmanager
def started(tasks: dict[str, dict[str, Any]]) -> Iterator[dict[str, Subject]]:
    """A process for each task, ready for requests; they end with the block."""
    subjects = {name: Subject(task) for name, task in tasks.items()}
    try:
        for subject in subjects.values():
            subject.wait()
        yield subjects
    finally:
        for subject in subjects.values():
            subject.close()


@dataclass
class Measure:
    """What one process is asked to do in each turn, and what came of it."""

    subject: Subject
    request: dict[str, Any]
    results: list[dict[str, Any]] = field(default_factory=list)

    def seconds(self, what: str = "stall") -> list[float]:
        """Of each turn but the first."""
        return [result[what] for result in self.results[1:]]

    @property
    def peak(self) -> float | None:
        """MiB in the first turn; None if it is not known."""
        return self.results[0].get("peak")


def take_turns(measures: list[Measure], num_rounds: int, num_bytes: int) -> None:
    """Measure each in turn, and one turn more before, in which everything is warmed up."""
    for turn in range(num_rounds + 1):
        if sys.stderr.isatty():
            print(f"  turn {turn} of {num_rounds}", end="\r", file=sys.stderr, flush=True)
        about = {"is_first": turn == 0, "is_kept": turn == num_rounds, "num_bytes": num_bytes}
        for measure in measures if turn % 2 == 0 else measures[::-1]:
            measure.results.append(measure.subject.ask(**measure.request, **about))


# -- tables -----------------------------------------------------------------------------------------


def print_head(title: str, peer: str, memory: str = "peak MiB") -> None:
    print(f"\n{title:58}{'seconds':26}{f'/ {peer}':26}{memory:>8}".rstrip())


def print_row(name: str, seconds: list[float], peer: list[float], peak: float | None = None) -> None:
    """A line: the median of the seconds and of the turns' ratios, with their least and most."""
    ratios = [own / other for own, other in zip(seconds, peer, strict=True)]
    memory = "" if peak is None else f"{peak:8.0f}"
    print(f"  {name:56}{spread(seconds, 3):26}{spread(ratios, 2):26}{memory}".rstrip(), flush=True)


def spread(values: list[float], digits: int) -> str:
    middle, least, most = statistics.median(values), min(values), max(values)
    return f"{middle:.{digits}f} ({least:.{digits}f} to {most:.{digits}f})"


# -- saving -----------------------------------------------------------------------------------------


def measure_saves(kind: str, folder: Path, options: argparse.Namespace) -> dict[str, Path]:
    """Print what saves take; return a checkpoint of each library."""
    task = {**shape_of(kind, options), "action": "save", "max_steps": options.rounds + 10}
    tasks = {name: {**task, "library": name, "folder": folder / name} for name in LIBRARIES}
    tasks["async"] = {**tasks["drivetrain"], "folder": folder / "async", "is_async": True}
    tasks["write"] = {"action": "write", "folder": folder / "write"}
    with started(tasks) as subjects:
        num_bytes = subjects["drivetrain"].ask(do="save", num_bytes=0)["bytes"]
        requests = {name: {"do": "save", "bytes": num_bytes} for name in ("write", *LIBRARIES, "async")}
        measures = {name: Measure(subjects[name], request) for name, request in requests.items()}
        measures |= {how: Measure(subjects["async"], {"do": how}) for how in ("copy", "clone")}
        take_turns(list(measures.values()), options.rounds, 2 * num_bytes)
    print_saves(f"a save of {kind}, {num_bytes / MEBIBYTE:,.0f} MiB", measures)
    return {library: next((folder / library).glob("checkpoint-*")) for library in LIBRARIES}


def print_saves(title: str, measures: dict[str, Measure]) -> None:
    """The tables of `measure_saves`."""
    write, own, background = (measures[name] for name in ("write", "drivetrain", "async"))
    plain = write.seconds()
    print_head(title[0].upper() + title[1:], "write and flush")
    print_row("write and flush of one buffer", plain, plain, write.peak)
    print_row("drivetrain", own.seconds(), plain, own.peak)
    if "transformers" in measures:
        other = measures["transformers"]
        print_row("transformers, which does not flush", other.seconds(), plain, other.peak)
        print_row(
            "transformers, and then a flush of its files", other.seconds("flushed"), plain, other.peak
        )
    print_row(
        "drivetrain, async_save, until it is whole", background.seconds("whole"), plain, background.peak
    )
    copy = measures["copy"].seconds()
    print_head(f"What the loop waits for in {title}", "copy to tensors", memory="")
    print_row("copy to tensors that are there", copy, copy)
    print_row("copy to new tensors", measures["clone"].seconds(), copy)
    print_row("drivetrain, async_save", background.seconds(), copy)


# -- resuming ---------------------------------------------------------------------------------------


def measure_resumes(
    title: str, task: dict[str, Any], checkpoints: dict[str, dict[str, Path]], num_rounds: int
) -> None:
    """Print how long it takes to resume, and to load the files that are resumed from.

    Args:
        title: Of what.
        task: The run that goes on.
        checkpoints: Those of each library, by what they are called in the table.
        num_rounds: Turns.
    """
    folder = next(iter(checkpoints.values()))["drivetrain"].parent.parent / "resumed"
    tasks = {"load": {**task, "action": "load", "folder": folder / "load"}}
    for library in LIBRARIES:
        tasks[library] = {**task, "action": "resume", "library": library, "folder": folder / library}
    with started(tasks) as subjects:
        measures = {
            name: {
                subject: Measure(
                    subjects[subject], {"checkpoint": str(made.get(subject, made["drivetrain"]))}
                )
                for subject in subjects
            }
            for name, made in checkpoints.items()
        }
        num_bytes = max(size_of(made["drivetrain"]) for made in checkpoints.values())
        take_turns(
            [one for same in measures.values() for one in same.values()], num_rounds, 3 * num_bytes
        )
    print_head(title, "loading the files", memory="")
    for name, same in measures.items():
        loading = same["load"].seconds()
        print_row(f"{name}: loading, with torch and safetensors", loading, loading)
        for library in LIBRARIES:
            print_row(f"{name}: {library}", same[library].seconds(), loading)


def measure_long_resumes(folder: Path, options: argparse.Namespace) -> None:
    """Print how long it takes to resume a small model's run on many rows, early and late in it."""
    steps = sorted({min(20, options.steps), options.steps})
    task = {**shape_of("small", options), "rows": options.rows, "batch_size": 8}
    task["max_steps"] = options.steps + 10
    runs = {name: {**task, "action": "train", "library": name, "save_at": steps} for name in LIBRARIES}
    for name, run in runs.items():
        run["folder"] = folder / name
    with started(runs):
        pass  # they are ready when they have trained
    checkpoints = {
        f"step {step:,}": {name: folder / name / f"checkpoint-{step}" for name in LIBRARIES}
        for step in steps
    }
    title = f"Resuming one layer on {options.rows:,} rows"
    measure_resumes(title, task, checkpoints, options.rounds)


def shape_of(kind: str, options: argparse.Namespace) -> dict[str, Any]:
    """A model and a short run of it."""
    return {
        "kind": kind,
        "parameters": options.parameters,
        "rows": 64,
        "batch_size": 1,
        "max_steps": 10_000,
        "is_async": False,
    }


def size_of(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())


# -- all of it --------------------------------------------------------------------------------------


def measure_all(folder: Path, options: argparse.Namespace) -> None:
    """Measure everything, with files in a folder."""
    for kind in options.models:
        checkpoints = measure_saves(kind, folder / kind, options)
        step = checkpoints["drivetrain"].name.rpartition("-")[2]
        task = shape_of(kind, options)
        measure_resumes(f"Resuming {kind}", task, {f"step {step}": checkpoints}, options.rounds)
        shutil.rmtree(folder / kind)
    if options.steps:
        measure_long_resumes(folder / "long", options)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--parameters", type=float, default=1e8, help="of the models that are saved")
    parser.add_argument("--rounds", type=int, default=7, help="turns that count")
    parser.add_argument(
        "--steps", type=int, default=20_000, help="of the run that is resumed late; 0: none"
    )
    parser.add_argument("--rows", type=int, default=1_000_000, help="that this run has to train on")
    parser.add_argument("--folder", type=Path, default=Path(), help="on the disk to measure")
    parser.add_argument("--quick", action="store_true", help="small and short, to see that it runs")
    models = ["gpt2", "layers"] if HAS_TRANSFORMERS else ["layers"]
    parser.add_argument("--models", nargs="*", choices=models, default=models, help="that are saved")
    options = parser.parse_args()
    if options.quick:
        options.parameters, options.rounds, options.steps, options.rows = 1e5, 1, 30, 1000
        options.models = ["layers"]
    return options


def describe_disk(folder: Path) -> str:
    """Device, mount point and file system of a folder, as far as the system tells."""
    mounts = Path("/proc/mounts")
    lines = [line.split() for line in mounts.read_text().splitlines()] if mounts.is_file() else []
    around = {str(folder.resolve()), *(str(parent) for parent in folder.resolve().parents)}
    found = [line for line in lines if line[1] in around]
    device, place, system = (
        max(found, key=lambda line: len(line[1]))[:3] if found else ("a disk", folder, "?")
    )
    return f"{device} at {place} ({system})"


def main() -> None:
    """Measure in a temporary folder, which is removed whatever happens."""
    options = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    disk = describe_disk(options.folder)
    print(f"{os.cpu_count()} cores, {disk}, {options.rounds} turns: median (least to most)")
    if not HAS_TRANSFORMERS:
        print("transformers is not installed: its Trainer and GPT-2 are left out.")
    with tempfile.TemporaryDirectory(prefix=".benchmark-", dir=options.folder) as folder:
        measure_all(Path(folder).resolve(), options)


if __name__ == "__main__":
    main()

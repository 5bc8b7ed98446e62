"""Every optimizer installed on one small GPT: loss, time of an update, and bytes of state.

    python benchmarks/optimizers.py [--names adamw_torch muon po_soap] [--steps 400] [--add]
                                    [--rate-search] [--output-dir benchmarks/results] [--quick]
    python benchmarks/optimizers.py --render   # tables and picture from the results that are there

Each optimizer trains in a process of its own, through `Trainer`, at the rate that the table in
`examples/gpt/starts.py` has for it, with the schedule that suits it; ``--rate-search`` tries a third and
three times that, too, and keeps the lowest loss. A few take turns with one AdamW: each trains a few updates
while the others wait, and a ratio is that of the time of ten turns to AdamW's in the same ten. The first ten
warm up and are not counted. Time is that of the processor (on a GPU: of the clock), in one thread, so that
what else runs on the machine counts little. What cannot run is listed with the reason that its plugin gives.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from optimizer_claims import REFERENCE
from optimizer_report import draw, print_report, write_markdown

from drivetrain_registry import default_registry

AT_ONCE = 4
"""Optimizers that take turns with one AdamW."""

OF_FAMILIES = (
    "po_lion",
    "po_soap",
    "po_prodigy",
    "po_came",
    "po_adopt",
    "po_adammini",
    "po_schedulefreeadamw",
)
"""Members of families that are measured unless others are named."""

Result = dict[str, Any]


class Subject:
    """A process that trains with one optimizer; see `optimizer_subjects.py`."""

    def __init__(self, task: dict[str, Any]) -> None:
        script = Path(__file__).with_name("optimizer_subjects.py")
        self.task = task
        self.seconds: list[float] = []
        self.result: Result = {}
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  (open as long as the process)
        self.process = subprocess.Popen(
            [sys.executable, str(script), json.dumps(task)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    def prepare(self) -> None:
        """Wait until it is ready to train, or has said why it cannot."""
        self._take(self._read())

    def take_turn(self) -> None:
        """Have it train one turn."""
        if not self.result:
            self._ask()
            self._take(self._read())

    def finish(self) -> Result:
        """Have it evaluate, and return all that there is to know."""
        if not self.result:
            self._ask()
            self._take(self._read())
        return self.result

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.communicate()
        self.errors.close()

    def _ask(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def _read(self) -> Result:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.errors.seek(0)
            return {"failure": (self.errors.read().strip().splitlines() or ["it ended"])[-1]}
        answer: Result = json.loads(line)
        return answer

    def _take(self, answer: Result) -> None:
        if "seconds" in answer:
            self.seconds.append(answer["seconds"])
        elif "ready" not in answer:
            self.result = answer


@contextmanager
def started(tasks: list[dict[str, Any]]) -> Iterator[list[Subject]]:
    """A process for each task, ready for its first turn; they end with the block."""
    subjects: list[Subject] = []
    try:
        for task in tasks:
            subjects.append(Subject(task))
        for subject in subjects:
            subject.prepare()
        yield subjects
    finally:
        for subject in subjects:
            subject.close()


def measure(tasks: list[dict[str, Any]], options: argparse.Namespace) -> tuple[list[Result], Result]:
    """What comes of each task, and of an AdamW that took turns with them."""
    with started([task_of(REFERENCE, options), *tasks]) as subjects:
        for turn in range(options.steps // options.turn):
            for subject in subjects if turn % 2 == 0 else subjects[::-1]:
                subject.take_turn()
        reference, *others = [{**subject.finish(), "seconds": subject.seconds} for subject in subjects]
    if "loss" not in reference:
        raise SystemExit(f"{REFERENCE} failed: {reference}")
    size = options.window // options.turn
    return [with_ratio(one, reference, size) for one in others], with_ratio(reference, reference, size)


def with_ratio(result: Result, reference: Result, num_turns: int) -> Result:
    """Add least, median and most of the ratios of the windows that count, each of some turns."""
    if "loss" not in result:
        return {name: result[name] for name in ("reason", "failure") if name in result}
    own, others = result["seconds"], reference["seconds"]
    starts = range(num_turns, len(own), num_turns)  # the first window warms up
    ratios = [sum(own[n : n + num_turns]) / sum(others[n : n + num_turns]) for n in starts]
    return {**result, "ratio": [min(ratios), statistics.median(ratios), max(ratios)]}


def task_of(name: str, options: argparse.Namespace, factor: float = 1.0) -> dict[str, Any]:
    """What a process is told."""
    shared = ("steps", "turn", "batch_size", "block_size", "seed")
    return {"name": name, "factor": factor, **{key: getattr(options, key) for key in shared}}


def measure_all(options: argparse.Namespace, found: dict[str, Result]) -> Iterator[dict[str, Result]]:
    """The best that came of each name so far, beside what was found before."""
    factors = (1.0, 1 / 3, 3.0) if options.rate_search else (1.0,)
    tasks = [task_of(name, options, factor) for name in options.names for factor in factors]
    found = {name: result for name, result in found.items() if name not in options.names}
    for first in range(0, len(tasks), AT_ONCE):
        batch = tasks[first : first + AT_ONCE]
        results, reference = measure(batch, options)
        found.setdefault(REFERENCE, reference)
        for task, result in zip(batch, results, strict=True):
            name = task["name"]
            found[name] = better(found.get(name), result)
            say(first + 1 + batch.index(task), len(tasks), name, result)
        yield found


def better(old: Result | None, new: Result) -> Result:
    """The one with the lower loss; a loss that is no number is higher than any."""
    if old is None or "loss" not in old or old["loss"] != old["loss"]:
        return new
    return new if new.get("loss", float("inf")) < old["loss"] else old


def say(number: int, of: int, name: str, result: Result) -> None:
    """Progress, on standard error."""
    outcome = result.get("reason") or result.get("failure")
    if outcome is None:
        rate, ratio = result["learning_rate"], result["ratio"][1]
        outcome = f"loss {result['loss']:.3f} at rate {rate:.2g}, time {ratio:.2f}"
    print(f"  {number:3} of {of}  {name:29}{outcome[:110]}", file=sys.stderr, flush=True)


def find_names() -> list[str]:
    """Every optimizer installed; of families, some well-known ones."""
    registry = default_registry()
    names = [name for name in registry.names("optimizer") if not name.endswith("*")]
    families = tuple(
        entry.name[:-1] for entry in registry.entries("optimizer") if entry.name.endswith("*")
    )
    return [*names, *(name for name in OF_FAMILIES if families and name.startswith(families))]


def describe_run(options: argparse.Namespace) -> Result:
    """What has to be known beside the results."""
    import torch

    shared = ("steps", "turn", "window", "batch_size", "block_size", "seed")
    has_gpu = torch.cuda.is_available()
    device = torch.cuda.get_device_name() if has_gpu else "one thread"
    return {
        **{key: getattr(options, key) for key in shared},
        "machine": f"{device} of a machine with {os.cpu_count()} cores",
        "clock": "by the clock" if has_gpu else "of the processor",
        "torch": torch.__version__,
    }


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--names", nargs="+", help="optimizers, by default all that are installed")
    parser.add_argument("--steps", type=int, default=400, help="updates (%(default)s)")
    parser.add_argument("--turn", type=int, default=10, help="updates in a turn (%(default)s)")
    parser.add_argument("--window", type=int, default=100, help="updates of a ratio (%(default)s)")
    parser.add_argument("--batch-size", type=int, default=8, help="blocks in an update (%(default)s)")
    parser.add_argument("--block-size", type=int, default=64, help="characters in a block (%(default)s)")
    parser.add_argument("--seed", type=int, default=42, help="of weights and order (%(default)s)")
    parser.add_argument("--rate-search", action="store_true", help="try three rates for each")
    parser.add_argument(
        "--output-dir", type=Path, default=Path("benchmark-output"), help="for the results"
    )
    parser.add_argument("--add", action="store_true", help="keep what is there of other names")
    parser.add_argument(
        "--render", action="store_true", help="measure nothing: read results that are there"
    )
    parser.add_argument("--quick", action="store_true", help="few updates of few, to see that it runs")
    options = parser.parse_args()
    if options.quick:
        options.steps, options.turn, options.window = 4, 1, 2
        options.batch_size, options.block_size = 2, 16
        options.names = options.names or ["muon", "sgd"]
    if (
        options.window % options.turn
        or options.steps % options.window
        or options.steps == options.window
    ):
        parser.error("--steps has to be two or more times --window, and --window some times --turn")
    return options


def read_earlier(file: Path, run: Result) -> dict[str, Result]:
    """Results that are there, if they are of runs like this one."""
    results = json.loads(file.read_text(encoding="utf-8"))
    if results["run"] != run:
        raise SystemExit(f"{file} is of another run: {results['run']}, not {run}. Leave out --add.")
    earlier: dict[str, Result] = results["names"]
    return earlier


def main() -> None:
    options = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    file = options.output_dir / "optimizers.json"
    if not options.render:
        options.names = [name for name in options.names or find_names() if name != REFERENCE]
        run = describe_run(options)
        options.output_dir.mkdir(parents=True, exist_ok=True)
        for found in measure_all(options, read_earlier(file, run) if options.add else {}):
            file.write_text(json.dumps({"run": run, "names": found}, indent=1) + "\n", encoding="utf-8")
    results = json.loads(file.read_text(encoding="utf-8"))
    print_report(results)
    file.with_suffix(".md").write_text(write_markdown(results), encoding="utf-8")
    draw(results, file.with_suffix(".png"))
    print(f"\n{file.parent} has optimizers.json, optimizers.md and optimizers.png")


if __name__ == "__main__":
    main()

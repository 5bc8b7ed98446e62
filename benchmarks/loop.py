"""An update of the training loop: instructions, bytecodes and time, over a loop in bare PyTorch.

Every trainer does the same work (`trainers.py`) with one thread. Counts are those of a long run less those
of a short one, over the updates between; times are taken in many short turns, in which one trainer goes on
and all others wait, each in a process of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from asking import Asked
from comparison import LEFT_OUT, Comparison, Goal
from progress import show
from trainers import BareLoop, BareLoopOneGroup, find_subjects

SCRIPT = Path(__file__).with_name("loop_subjects.py")
PLAIN = "tiny linear model"
FULL = f"{PLAIN}, accumulation of 4, jsonl log every 10"
TASKS = {"plain": (PLAIN, Goal(ratio=1.05)), "full": (FULL, Goal(ratio=1.15))}
"""What is counted: its name in `loop_subjects.py`, what it is called, and what was promised."""

Counts = dict[str, dict[str, float]]
"""By the name of the trainer and of the task: how many, an update."""


@dataclass(frozen=True)
class Timing:
    """What is timed.

    Attributes:
        task: Its name in `loop_subjects.py`.
        title: What it is called.
        num_updates: In a turn.
        goal: What was promised, of the processor's time.
    """

    task: str
    title: str
    num_updates: int
    goal: Goal | None = None


TIMINGS = (
    Timing("gpt", "GPT of 2 layers, 128 wide, 8 rows of 64 tokens", 5, Goal(ratio=1.02)),
    Timing("plain", PLAIN, 100),
    Timing("deep gpt", "GPT of 12 layers, 32 wide, 8 rows of 16 tokens", 5),
)


def measure(quick: bool) -> list[Comparison]:
    """Measure all of it; quick: few updates and turns of the bare loop and ours."""
    names, missing = find_subjects()
    if quick:
        missing |= dict.fromkeys(names[2:], LEFT_OUT)
    tasks = dict(list(TASKS.items())[:1]) if quick else TASKS
    few, many = (2, 6) if quick else (20, 120)
    counted = names[:2] if quick else [*names, BareLoopOneGroup.name]
    comparisons = []
    counts, note = {}, QUICK_NOTE if quick else NO_VALGRIND_NOTE
    if has_valgrind() and not quick:
        counts, note = count("instructions", counted, list(tasks), few, many), INSTRUCTIONS_NOTE
    comparisons += compare_counts("instructions", counts, tasks, missing, note)
    counts = count("bytecodes", counted, list(tasks), few, many)
    comparisons += compare_counts("bytecodes", counts, tasks, missing, BYTECODES_NOTE)
    for timing in TIMINGS[1:2] if quick else TIMINGS:
        timed = names[:2] if quick else names
        comparisons += time_turns(timing, timed, missing, num_rounds=3 if quick else 60)
    return comparisons


# -- counting ---------------------------------------------------------------------------------------

INSTRUCTIONS_NOTE = (
    "Counted by callgrind, so that neither the machine's load nor its speed is in it; what a run takes to "
    "begin and to end is not counted, nor a look of the garbage collector at what was imported. The bare "
    "loop keeps weight decay off biases and norms, as all others do, so its optimizer has two groups of "
    "parameters; one group costs less, by what 'bare loop with one group' shows."
)
QUICK_NOTE = "Not measured in a quick run: to start anything under valgrind takes half a minute."
NO_VALGRIND_NOTE = "Not measured: valgrind is not installed (`apt install valgrind`)."
BYTECODES_NOTE = (
    "Bytecodes that Python executes, counted with `sys.settrace`: needs nothing installed and does not "
    "depend on the machine; but PyTorch does most of an update's work below Python, and that is not in it."
)


def has_valgrind() -> bool:
    """Whether instructions can be counted here."""
    return all(shutil.which(command) for command in ("valgrind", "callgrind_control"))


def count(what: str, names: Sequence[str], tasks: Sequence[str], few: int, many: int) -> Counts:
    """Count instructions or bytecodes an update; two processes at a time, as nothing is timed.

    Args:
        what: ``"instructions"`` or ``"bytecodes"``.
        names: Of trainers.
        tasks: Names in `loop_subjects.py`.
        few: Updates of the short run.
        many: Updates of the long run.
    """
    runs_of = {"instructions": count_instructions, "bytecodes": count_bytecodes}[what]
    groups = [names[:2], *([name] for name in names[2:])]  # the bare loop and ours import much the same

    def count_group(group: Sequence[str]) -> Counts:
        show(f"{what} of an update: {', '.join(group)}")
        with tempfile.TemporaryDirectory() as folder:
            arguments = [folder, str(few), str(many), ",".join(group), ",".join(tasks)]
            runs = iter(runs_of(arguments, Path(folder)))
        return {
            name: {task: (-next(runs) + next(runs)) / (many - few) for task in tasks} for name in group
        }

    with ThreadPoolExecutor(max_workers=2) as pool:
        return {name: found for part in pool.map(count_group, groups) for name, found in part.items()}


def count_instructions(arguments: list[str], folder: Path) -> list[int]:
    """Count the instructions of each run, which callgrind writes into a file for each."""
    valgrind = ["valgrind", "--tool=callgrind", "--instr-atstart=no", "--collect-atstart=no"]
    run([*valgrind, f"--callgrind-out-file={folder}/count"], ["instructions", *arguments])
    files = sorted(folder.glob("count.*"), key=lambda file: int(file.suffix[1:]))
    totals = [
        line for file in files for line in file.read_text().splitlines() if line.startswith("totals:")
    ]
    return [int(line.split()[1]) for line in totals]


def count_bytecodes(arguments: list[str], folder: Path) -> list[int]:
    """Count the bytecodes of each run."""
    counts: list[int] = json.loads(run([], ["bytecodes", *arguments]))
    return counts


def run(prefix: list[str], arguments: list[str]) -> str:
    """Run `loop_subjects.py` to its end; return what it printed."""
    done = subprocess.run(
        [*prefix, sys.executable, str(SCRIPT), *arguments],
        env=environment(),
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments)} failed:\n{done.stderr[-3000:]}")
    return done.stdout


def environment() -> dict[str, str]:
    """One thread, and sets in the same order every time."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}


def compare_counts(
    unit: str,
    counts: Counts,
    tasks: dict[str, tuple[str, Goal]],
    missing: dict[str, str],
    note: str,
) -> list[Comparison]:
    """A comparison of each task; what was promised was promised of instructions."""
    return [
        Comparison(
            title=f"{unit.capitalize()} of an update, {title}",
            unit=unit,
            reference=BareLoop.name,
            values={name: [of_task[task]] for name, of_task in counts.items()},
            goal=goal if unit == "instructions" else None,
            note=note,
            missing=missing,
        )
        for task, (title, goal) in tasks.items()
    ]


# -- taking turns -----------------------------------------------------------------------------------

TURNS_NOTE = (
    "In each round one turn follows the other, forwards and backwards; a trainer's run goes on from turn to "
    "turn and waits in the model's `forward` in between."
)
CPU_NOTE = f"Time of the processor, which counts little of what else the machine does. {TURNS_NOTE}"
WALL_NOTE = f"Time of the clock, with everything that the machine did besides. {TURNS_NOTE}"


def time_turns(
    timing: Timing, names: list[str], missing: dict[str, str], num_rounds: int
) -> list[Comparison]:
    """Time updates of all trainers in turns: by the processor, and by the clock."""
    took: dict[str, list[list[float]]] = {name: [] for name in names}
    with ExitStack() as stack:
        show(f"time of an update, {timing.title}: starting")
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        num_updates = str(timing.num_updates)
        trainers = {
            name: stack.enter_context(Asked(SCRIPT, "turns", folder, num_updates, name, timing.task))
            for name in names
        }
        for name in names * 2:  # imports, then what the first updates take longer
            trainers[name].ask()
        for number in range(num_rounds):
            show(f"time of an update, {timing.title}: round {number + 1} of {num_rounds}")
            for name in names if number % 2 == 0 else names[::-1]:
                took[name].append(trainers[name].ask())
    return [
        Comparison(
            title=f"{clock} time of an update, {timing.title}",
            unit="ms",
            reference=BareLoop.name,
            values={
                name: [1000 * turn[index] / timing.num_updates for turn in turns]
                for name, turns in took.items()
            },
            goal=timing.goal if clock == "CPU" else None,
            note=note,
            missing=missing,
        )
        for index, (clock, note) in enumerate((("CPU", CPU_NOTE), ("Wall", WALL_NOTE)))
    ]

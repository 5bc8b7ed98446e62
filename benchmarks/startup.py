"""Starting: imports, `drivetrain plugins`, the help of a script, making a trainer, and a run of one step.

What is started as a process runs in a fresh interpreter each time, one after the other in turns; its CPU time
is what the system says of it when it has ended. Bytecode is there, as pip leaves it: it is written to a
temporary folder in a turn that is not counted.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from asking import Asked
from comparison import LEFT_OUT, OURS, Comparison, Goal
from progress import show

SCRIPT = Path(__file__).with_name("startup_subjects.py")
NUM_PLUGINS = 25
PYTHON, TORCH, BARE = "Python", "import torch", "bare loop"
LIBRARIES = {
    "drivetrain": "drivetrain",
    "transformers": "transformers",
    "Lightning": "lightning",
    "Accelerate": "accelerate",
    "ignite": "ignite",
}
"""The module of each."""

HELP = """\
import sys
sys.argv = ["train.py", "--help"]
from {library} import HfArgumentParser, TrainingArguments
HfArgumentParser(TrainingArguments).parse_args_into_dataclasses()
"""


@dataclass(frozen=True)
class Start:
    """Something that is started as a process, and what it is held against.

    Attributes:
        title: What it is called.
        reference: The subject that is 1.00.
        programs: The code that each subject runs.
        goal: Of drivetrain's CPU time, in milliseconds.
        note: What a reader has to know.
    """

    title: str
    reference: str
    programs: Mapping[str, str]
    goal: Goal
    note: str = ""


def starts(num_installed: int) -> list[Start]:
    """Everything that is started as a process."""
    made_up = max(NUM_PLUGINS - num_installed, 0)
    plugins = f"{num_installed} distributions with plugins are installed"
    plugins += f"; {made_up} with one name each were made for this." if made_up else "."
    return [
        Start(
            "Importing the trainer and its arguments",
            TORCH,
            {
                TORCH: "import torch",
                "drivetrain": "from drivetrain import Trainer, TrainingArguments",
                "transformers": "from transformers import Trainer, TrainingArguments",
                "Lightning": "from lightning import LightningModule, Trainer",
                "Accelerate": "from accelerate import Accelerator",
                "ignite": "import ignite.engine, ignite.handlers",
            },
            Goal(ratio=1.10),
            "A garbage collection of all of torch's objects is over a twentieth: whether one falls into an "
            "import depends on how many objects were made before.",
        ),
        Start(
            "Importing drivetrain",
            PYTHON,
            {PYTHON: "pass", "drivetrain": "import drivetrain"},
            Goal(more=150),
        ),
        Start(
            f"`drivetrain plugins` with {num_installed + made_up} plugins",
            PYTHON,
            {PYTHON: "pass", "drivetrain": "from drivetrain.cli import main; main(['plugins'])"},
            Goal(more=150),
            plugins,
        ),
        Start(
            "`--help` of a script that parses the arguments",
            TORCH,
            {
                TORCH: "import torch",
                "drivetrain": HELP.format(library="drivetrain"),
                "transformers": HELP.format(library="transformers"),
            },
            Goal(ratio=0.2),
        ),
    ]


def measure(quick: bool) -> list[Comparison]:
    """Measure all of it; quick: one turn without the other trainers."""
    names = [name for name, module in LIBRARIES.items() if importlib.util.find_spec(module)]
    missing = {name: "not installed" for name in LIBRARIES if name not in names}
    if quick:
        missing |= {name: LEFT_OUT for name in names if name != OURS}
        names = [OURS]
    comparisons = []
    with surroundings(is_compiled=not quick) as (environment, num_installed):
        for start in starts(num_installed):
            comparisons += measure_start(start, names, missing, environment, 1 if quick else 11)
    return comparisons + measure_steps([BARE, *names], missing, 2 if quick else 20)


# -- processes --------------------------------------------------------------------------------------


@contextmanager
def surroundings(is_compiled: bool) -> Iterator[tuple[dict[str, str], int]]:
    """The environment of the processes, and how many distributions with plugins are installed in it.

    Args:
        is_compiled: Have bytecode of everything, wherever Python is told to leave it.
    """
    from drivetrain_registry import discover

    num_installed = len({entry.distribution for entry in discover()})
    with tempfile.TemporaryDirectory() as folder:
        for number in range(num_installed, NUM_PLUGINS):
            make_plugin(Path(folder), number)
        path = os.pathsep.join(filter(None, (folder, os.environ.get("PYTHONPATH"))))
        environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
        if is_compiled:
            environment.pop("PYTHONDONTWRITEBYTECODE", None)
            environment["PYTHONPYCACHEPREFIX"] = str(Path(folder, "bytecode"))
        yield environment, num_installed


def make_plugin(folder: Path, number: int) -> None:
    """Install a distribution with one plugin into a folder, as far as reading its name goes."""
    name = f"stand_in_{number}"
    described = folder / f"{name}-1.0.dist-info"
    described.mkdir()
    (folder / f"{name}.py").write_text("class Part: ...\n")
    (described / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n\n")
    (described / "entry_points.txt").write_text(f"[drivetrain.plugins]\n{name} = {name}:Part\n")


def measure_start(
    start: Start,
    names: list[str],
    missing: Mapping[str, str],
    environment: Mapping[str, str],
    num_rounds: int,
) -> list[Comparison]:
    """Start each subject in turn; its CPU time, and the time that passed."""
    chosen = {name: code for name, code in start.programs.items() if name in (start.reference, *names)}
    left_out = {name: why for name, why in missing.items() if name in start.programs}
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in chosen}
    for turn in range(num_rounds + 1):
        for name, code in chosen.items():
            show(f"{start.title}: {name}, turn {turn} of {num_rounds}")
            taken = run(code, environment)
            if turn > 0:  # the first one reads from the disk, and writes bytecode
                times[name].append(taken)
    own, passed = (
        {name: [pair[index] for pair in pairs] for name, pairs in times.items()} for index in (0, 1)
    )
    note = "The time that passed, on a machine that may have had other things to do."
    return [
        Comparison(start.title, "ms", start.reference, own, start.goal, start.note, left_out),
        Comparison(
            f"{start.title}, time that passed", "ms", start.reference, passed, None, note, left_out
        ),
    ]


def run(code: str, environment: Mapping[str, str]) -> tuple[float, float]:
    """CPU time of a fresh interpreter that runs some code, and the time that passed, in milliseconds.

    Raises:
        RuntimeError: The code failed.
    """
    with tempfile.TemporaryFile("w+") as errors:
        begin = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-c", code], env=dict(environment), stdout=subprocess.DEVNULL, stderr=errors
        )
        _, status, used = os.wait4(process.pid, 0)
        passed = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            errors.seek(0)
            raise RuntimeError(f"{code}\nfailed:\n{errors.read()[-3000:]}")
    return 1000 * (used.ru_utime + used.ru_stime), 1000 * passed


# -- within a process -------------------------------------------------------------------------------


def measure_steps(names: list[str], missing: Mapping[str, str], num_rounds: int) -> list[Comparison]:
    """Make a trainer and train one step, in processes that go on in turns."""
    with ExitStack() as stack:
        processes = {name: stack.enter_context(Asked(SCRIPT, name)) for name in names}
        rounds: list[dict[str, dict[str, float]]] = []
        for turn in range(num_rounds + 1):
            show(f"a run of one step, turn {turn} of {num_rounds}")
            rounds.append({name: process.ask() for name, process in processes.items()})
    makers = [name for name in names if name != BARE]

    def compare(
        title: str, what: str, chosen: list[str], is_first: bool, goal: Goal | None
    ) -> Comparison:
        counted = rounds[:1] if is_first else rounds[1:]
        values = {name: [answers[name][what] for answers in counted] for name in chosen}
        note = NOTE_OF_FIRST if is_first else ""
        return Comparison(title, "ms", chosen[0], values, goal, note, missing)

    making, training = "Making the arguments and the trainer", "A `train()` of one step"
    return [
        compare(making, "make", makers, False, Goal(value=20)),
        compare(training, "train", names, False, Goal(value=10)),
        compare(f"{making}, the first time in a process", "make", makers, True, None),
        compare(f"{training}, the first time in a process", "train", names, True, None),
    ]


NOTE_OF_FIRST = (
    "Measured once. torch is imported, and an optimizer was stepped before, which makes PyTorch import its "
    "compiler; importing the library itself counts."
)

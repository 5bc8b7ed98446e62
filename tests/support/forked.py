"""Trainings that differ in their surroundings only, each in a process that has to end by itself.

One process imports torch and trains without a reporter, which is most of the work; it forks one for
each case.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
SAID = "said.txt"


@dataclass(frozen=True)
class Case:
    """What is done, and where: code, a folder that is there, and environment variables.

    Besides what it imports the code has ``case``, the name of its case, and ``expected``, the weights
    that ``make_trainer().train()`` ends with.
    """

    code: str
    folder: Path
    variables: Mapping[str, str]


@dataclass(frozen=True)
class Ended:
    """How its process ended, and what it wrote to the terminal."""

    returncode: int
    output: str


def run_forked(cases: Mapping[str, Case], without: str, timeout: float = 200.0) -> dict[str, Ended]:
    """Run what each case says, all beside each other.

    Args:
        cases: By name.
        without: What the names of variables begin with that are not inherited.
        timeout: Seconds until all are killed.
    """
    given = {name: (case.code, str(case.folder), dict(case.variables)) for name, case in cases.items()}
    inherited = {name: text for name, text in os.environ.items() if not name.startswith(without)}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.forked", json.dumps(given)],
        cwd=next(iter(cases.values())).folder,
        env={**inherited, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"},  # no threads to fork
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        said, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    if process.returncode != 0:
        raise ChildProcessError(said)  # what all have in common failed
    codes = json.loads(said.splitlines()[-1])
    return {name: Ended(codes[name], (case.folder / SAID).read_text()) for name, case in cases.items()}


def _main(cases: Mapping[str, tuple[str, str, Mapping[str, str]]]) -> None:
    from tests.support.small import make_trainer, weights_of

    alone = make_trainer(output_dir="alone")
    alone.train()
    expected = weights_of(alone)
    children = {}
    sys.stdout.flush()
    for name, (code, folder, variables) in cases.items():
        children[name] = os.fork()
        if children[name] == 0:
            _enter(Path(folder), variables)
            exec(code, {"__name__": "case", "case": name, "expected": expected})
            return
    ended = {name: os.waitpid(child, 0)[1] for name, child in children.items()}
    print(json.dumps({name: os.waitstatus_to_exitcode(status) for name, status in ended.items()}))


def _enter(folder: Path, variables: Mapping[str, str]) -> None:
    os.chdir(folder)
    os.environ.update(variables)
    said = os.open(SAID, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(said, stream)
    os.close(said)


if __name__ == "__main__":
    _main(json.loads(sys.argv[1]))

"""Which functions an update of the loop spends its bytecodes in, and which spend more than the bare loop's.

    python benchmarks where -- [--trainer drivetrain] [--task plain] [--rows 40]

Each row is a function of Python: how many bytecodes it executes in an update, how many more that is than in
the bare loop, and how often it is called. Counted as `loop.py` counts them: a long run less a short one.
What PyTorch does below Python is not in it; a bytecode stands for a hundred instructions, roughly.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

FEW, MANY = 20, 120


class Counts:
    """Bytecodes and calls of each function, while it is traced."""

    def __init__(self) -> None:
        self.bytecodes: Counter[CodeType] = Counter()
        self.calls: Counter[CodeType] = Counter()

    def trace(self, frame: FrameType, event: str, argument: object) -> Any:
        """What Python calls at each bytecode."""
        if event == "opcode":
            self.bytecodes[frame.f_code] += 1
        elif event == "call":
            self.calls[frame.f_code] += 1
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return self.trace


def count(trainer: str, task: str, folder: str) -> dict[str, tuple[float, float]]:
    """Bytecodes and calls in an update, by function."""
    from loop_subjects import TASKS, WARM_UP
    from trainers import SUBJECTS

    subject, runs = SUBJECTS[trainer](TASKS[task](folder)), []
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        subject.train(WARM_UP)
        for num_updates in (FEW, MANY):
            runs.append(Counts())
            sys.settrace(runs[-1].trace)
            try:
                subject.train(num_updates)
            finally:
                sys.settrace(None)
    few, many = runs
    found: dict[str, tuple[float, float]] = {}
    for code in many.bytecodes:
        own = (many.bytecodes[code] - few.bytecodes[code]) / (MANY - FEW)
        calls = (many.calls[code] - few.calls[code]) / (MANY - FEW)
        if own > 0.5:
            before = found.get(name_of(code), (0.0, 0.0))
            found[name_of(code)] = (before[0] + own, before[1] + calls)
    return found


def name_of(code: CodeType) -> str:
    """Where a function is, and what it is called."""
    name = getattr(code, "co_qualname", code.co_name)  # Python 3.11 and later
    return f"{'/'.join(Path(code.co_filename).parts[-2:])}:{code.co_firstlineno} {name}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python benchmarks where --", description=__doc__)
    parser.add_argument("--trainer", default="drivetrain")
    parser.add_argument("--task", default="plain")
    parser.add_argument("--rows", type=int, default=40)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        ours, bare = (count(name, options.task, folder) for name in (options.trainer, "bare loop"))
    totals = [sum(bytecodes for bytecodes, _ in found.values()) for found in (ours, bare)]
    print(f"Bytecodes of an update: {options.trainer} {totals[0]:,.0f}, bare loop {totals[1]:,.0f}")
    print(f"{'bytecodes':>9} {'more':>7} {'calls':>6}  function")
    more = {name: found[0] - bare.get(name, (0.0, 0.0))[0] for name, found in ours.items()}
    for name in sorted(ours, key=lambda name: -more[name])[: options.rows]:
        print(f"{ours[name][0]:9.0f} {more[name]:+7.0f} {ours[name][1]:6.1f}  {name}")


if __name__ == "__main__":
    main()

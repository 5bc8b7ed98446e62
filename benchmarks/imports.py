"""Seconds to import drivetrain, beside `import torch` and beside the trainers that people use today.

    python benchmarks/imports.py [REPEATS]

Each import runs in a fresh interpreter, one after the other, round by round; printed are the median and
its ratio to that of ``import torch``. Peers that are not installed are left out.
"""

from __future__ import annotations

import importlib.util
import statistics
import subprocess
import sys
import time

IMPORTS = {
    "python": "pass",
    "drivetrain": "import drivetrain",
    "drivetrain plugins": "from drivetrain.cli import main; main(['plugins', '--json'])",
    "arguments": "from drivetrain import TrainingArguments",
    "torch": "import torch",
    "drivetrain Trainer": "from drivetrain import Trainer, TrainingArguments",
    "transformers Trainer": "from transformers import Trainer, TrainingArguments",
    "accelerate": "from accelerate import Accelerator",
    "lightning": "from lightning import Trainer",
}


def seconds(code: str) -> float:
    """Wall time of a fresh interpreter that runs ``code``."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    return time.perf_counter() - start


def is_possible(code: str) -> bool:
    """Whether what a line imports is installed."""
    words = code.split()
    return words[0] == "pass" or importlib.util.find_spec(words[1].split(".")[0].rstrip(";")) is not None


def main() -> None:
    """Time every import in turn, several rounds, and print a table."""
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    chosen = {name: code for name, code in IMPORTS.items() if is_possible(code)}
    times: dict[str, list[float]] = {name: [] for name in chosen}
    for code in chosen.values():
        seconds(code)  # once for the disk cache
    for _ in range(repeats):
        for name, code in chosen.items():
            times[name].append(seconds(code))
    torch = statistics.median(times["torch"])
    print(f"{'import':22} {'median s':>9} {'/ torch':>8}   of {repeats}")
    for name, values in times.items():
        median = statistics.median(values)
        print(f"{name:22} {median:9.3f} {median / torch:8.2f}   {min(values):.3f} to {max(values):.3f}")


if __name__ == "__main__":
    main()

"""Updates until memory stops growing, in a run of 20,000 of a tiny model.

Each run has a process of its own. At every tenth update, after a garbage collection, the blocks of Python's
allocator and the resident bytes are noted: what counts is the first update after which neither gets higher
by more than 100 blocks (6 KiB) and 256 KiB: fixed numbers, below which a bare loop moves, too. How much each
grows after update 100 is noted beside it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from comparison import LEFT_OUT, OURS, Comparison, Goal
from trainers import find_subjects

BARE = "bare loop"
BLOCK_NOISE, BYTE_NOISE = 100, 256 * 1024
"""What does not count as growth: blocks of Python's allocator, of about 60 bytes, and resident bytes."""


def measure(quick: bool) -> list[Comparison]:
    """Run every trainer without logs, then drivetrain and transformers with.

    Args:
        quick: 400 updates, without the peers.
    """
    num_updates = 400 if quick else 20_000
    installed, missing = find_subjects()
    if quick:
        missing |= {name: LEFT_OUT for name in installed if name not in (BARE, OURS)}
        installed = [BARE, OURS]
    runs = {name: run(name, num_updates, 0) for name in installed}
    comparisons = [compare("no logs", num_updates, runs, missing)]
    for every in (10, 500):
        published = [name for name in (OURS, "transformers") if name in installed]
        some = {BARE: runs[BARE]} | {name: run(name, num_updates, every) for name in published}
        comparisons.append(compare(f"a log every {every}", num_updates, some, {}))
    return comparisons


def compare(
    what: str, num_updates: int, runs: dict[str, dict[str, Any]], missing: dict[str, str]
) -> Comparison:
    """The updates after which each run's memory did not grow, and what it grew by from the hundredth on."""
    texts = []
    for name, found in runs.items():
        blocks, size = (grown_after(rises, 100) for rises in found["rises"])
        text = f"{name}: {blocks} blocks and {size // 1024} KiB more after update 100"
        if found.get("logs"):
            text += f", {found['bytes'] // found['logs']} bytes for each log that is kept"
        texts.append(text)
    return Comparison(
        title=f"Updates until memory stops growing, of {num_updates:,}, {what}",
        unit="updates",
        reference=BARE,
        values={name: [float(settled(found["rises"]))] for name, found in runs.items()},
        goal=Goal(value=100.0),
        note="; ".join(texts)
        + ". What was logged is put away here: `state.log_history` keeps it on purpose.",
        missing=missing,
    )


def run(trainer: str, num_updates: int, log_every: int) -> dict[str, Any]:
    """What `growth_subjects.py` notes."""
    script = Path(__file__).with_name("growth_subjects.py")
    command = [sys.executable, str(script), trainer, str(num_updates), str(log_every)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{trainer} failed:\n{done.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def settled(rises: list[list[list[int]]]) -> int:
    """The first update after which neither blocks nor bytes rise by more than noise."""
    last = 0
    for of_one, noise in zip(rises, (BLOCK_NOISE, BYTE_NOISE), strict=True):
        highest = of_one[-1][1]
        last = max(last, next(step for step, value in of_one if highest - value <= noise))
    return last


def grown_after(rises: list[list[int]], update: int) -> int:
    """What the highest value of all is above the highest up to an update."""
    before = max(value for step, value in rises if step <= update)
    return rises[-1][1] - before

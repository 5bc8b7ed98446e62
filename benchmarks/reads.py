"""Reads from the device between two logs: each makes the host wait until the device has done all its work.

They are counted on a device that is none (`reads_device.py`): torch takes it for an accelerator, it
computes on the CPU, and nothing can be read from it unseen. Each trainer runs in a process of its own,
logs at updates 10 and 20, and is watched from the begin of update 11 to the begin of update 20.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from comparison import LEFT_OUT, OURS, Comparison, Goal
from reads_subjects import HEADLINE, SCENARIOS

BARE = "bare loop"
PEERS = ("transformers", "Accelerate", "Lightning")


def measure(quick: bool) -> list[Comparison]:
    """Count the reads of every trainer, and of drivetrain in each way to train.

    Args:
        quick: Without the peers, in two ways.
    """
    scenarios = list(SCENARIOS)[:2] if quick else list(SCENARIOS)
    missing = {name: "not installed" for name in PEERS if importlib.util.find_spec(name.lower()) is None}
    if quick:
        missing |= {name: LEFT_OUT for name in PEERS if name not in missing}
    ours = run(OURS, scenarios)
    counts = {BARE: run(BARE, [HEADLINE]), OURS: ours} | {
        name: run(name, [HEADLINE]) for name in PEERS if name not in missing
    }
    return [
        Comparison(
            title="Reads from the device for each update between two logs",
            unit="reads",
            reference=BARE,
            values={name: [reads_of(found[HEADLINE])] for name, found in counts.items()},
            goal=Goal(value=0.0),
            note=(
                f"All clip gradients at 1. {describe_reads(counts)}"
                "The bare loop looks at its loss only to log it."
            ),
            missing={**missing, "ignite": "has no trainer of its own to put on this device"},
        ),
        compare_scenarios(ours),
    ]


def compare_scenarios(ours: dict[str, Any]) -> Comparison:
    """The most that drivetrain reads, whatever it is asked for."""
    reads = {scenario: reads_of(found) for scenario, found in ours.items()}
    with_reads = [f"{scenario} ({number:g})" for scenario, number in reads.items() if number]
    return Comparison(
        title=f"Reads between two logs, all {len(reads)} scenarios",
        unit="reads",
        reference=BARE,
        values={BARE: [0.0], OURS: [max(reads.values())]},
        goal=Goal(value=0.0),
        note=(
            f"The most for each update in any of these: {'; '.join(reads)}. "
            f"With reads: {', '.join(with_reads) or 'none'}."
        ),
    )


def run(trainer: str, scenarios: list[str]) -> dict[str, Any]:
    """What `reads_subjects.py` finds."""
    script = Path(__file__).with_name("reads_subjects.py")
    command = [sys.executable, str(script), trainer, *scenarios]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{trainer} failed:\n{done.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def reads_of(found: dict[str, Any]) -> float:
    """For each update."""
    return float(found["between"]) / float(found["updates"])


def describe_reads(counts: dict[str, Any]) -> str:
    """Where those read that do, a sentence each."""
    texts = []
    for name, found in counts.items():
        for where in found[HEADLINE]["where"]:
            operation, _, calls = where.partition(": ")
            texts.append(
                f"{name} reads by {operation.removeprefix('aten::')} in {calls.split(' > ')[-1]}. "
            )
    return "".join(texts)

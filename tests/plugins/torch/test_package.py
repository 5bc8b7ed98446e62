"""What is said of the distribution as a whole: a README that tells the truth and whose snippet runs."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import pytest

from drivetrain.parts import BASE_CLASSES
from drivetrain_registry import default_registry
from drivetrain_registry.kinds import OPTIMIZER, SCHEDULER

README = Path(__file__).resolve().parents[3] / "plugins" / "torch" / "README.md"


def parts_of(kind):
    """Each part of a kind that the distribution offers, by name."""
    entries = [e for e in default_registry().entries(kind) if e.distribution == "drivetrain-torch"]
    return {
        entry.name: default_registry().load(kind, entry.name, option="optim").part for entry in entries
    }


@pytest.mark.slow
def test_the_snippet_of_the_readme_runs():
    (snippet,) = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    done = subprocess.run([sys.executable, "-c", snippet], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("kind", [OPTIMIZER, SCHEDULER])
def test_the_readme_lists_every_name_with_all_its_options(kind):
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", README.read_text(), flags=re.MULTILINE))
    parts = parts_of(kind)
    assert parts
    for name, part in parts.items():
        if name == "reduce_lr_on_plateau":
            continue
        documented = set(re.findall(r"`(\w+)(?:=[^`]*)?`", rows[name].rpartition("|")[2]))
        assert {field.name for field in dataclasses.fields(part.Options)} <= documented, name


@pytest.mark.parametrize("kind", BASE_CLASSES)
def test_every_name_leads_to_a_part_of_its_kind(kind):
    for part in parts_of(kind).values():
        assert issubclass(part, BASE_CLASSES[kind])
        assert part.__doc__

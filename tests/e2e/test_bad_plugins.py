"""Broken plugins hurt nobody who does not name them, and say what is wrong to those who do."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from fakes import plant_distribution
from venvs import Venv

pytestmark = pytest.mark.slow

OPTIMIZERS = "drivetrain.optimizers"
REPORTERS = "drivetrain.reporters"


@dataclass(frozen=True)
class Bad:
    """A way to name a bad plugin, and what must be said of it."""

    option: str
    value: str
    error: str
    says: tuple[str, ...]


BAD = {
    "its import raises": Bad(
        "optim",
        "explosive",
        "BrokenPluginError",
        ("`optim`: 'explosive'", "drivetrain-explosive 1.2", "RuntimeError: no licence found"),
    ),
    "its import ends the process": Bad(
        "optim",
        "quitting",
        "BrokenPluginError",
        ("`optim`: 'quitting'", "drivetrain-explosive 1.2", "SystemExit"),
    ),
    "its entry point leads nowhere": Bad(
        "optim",
        "hollow",
        "BrokenPluginError",
        ("`optim`: 'hollow'", "drivetrain-hollow 0.3", "drivetrain_hollow:Hollow", "has no attribute"),
    ),
    "its name is taken": Bad(
        "optim",
        "muon",
        "AmbiguousNameError",
        ("`optim`: 'muon'", "drivetrain-rival 2.0", "drivetrain-torch 0.1.0", "'drivetrain-torch:muon'"),
    ),
    "its library is missing": Bad(
        "optim",
        "needy",
        "MissingLibraryError",
        ("`optim`: 'needy'", "drivetrain-needy 1.0", 'pip install "acme-kernels>=3.1"'),
    ),
    "it is of the wrong kind": Bad(
        "optim",
        "odd",
        "WrongKindError",
        ("`optim`: 'odd'", "OptimizerPlugin"),
    ),
    "a reporter's import raises": Bad(
        "report_to",
        "loud",
        "BrokenPluginError",
        ("`report_to`: 'loud'", "drivetrain-explosive 1.2", "RuntimeError: no licence found"),
    ),
}
each_bad = pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())


@pytest.fixture(scope="module")
def venv(fresh_venv: Callable[[], Venv]) -> Venv:
    """An environment in which every plugin of others is bad."""
    made = fresh_venv()
    packages = made.site_packages
    plant_distribution(
        packages,
        "drivetrain-explosive",
        "1.2",
        source="import sys\nprint('boom', file=sys.stderr)\nraise RuntimeError('no licence found')\n",
        entry_points={
            OPTIMIZERS: {
                "explosive": "drivetrain_explosive:Explosive",
                "quitting": "drivetrain_quitting:Quit",
            },
            REPORTERS: {"loud": "drivetrain_explosive:Loud"},
        },
    )
    (packages / "drivetrain_quitting.py").write_text("import sys\nsys.exit(3)\n", encoding="utf-8")
    plant_distribution(
        packages,
        "drivetrain-hollow",
        "0.3",
        source="",
        entry_points={OPTIMIZERS: {"hollow": "drivetrain_hollow:Hollow"}},
    )
    plant_distribution(
        packages,
        "drivetrain-rival",
        "2.0",
        source="from torch.optim import SGD as Muon\nodd = 3\n",
        entry_points={OPTIMIZERS: {"muon": "drivetrain_rival:Muon", "odd": "drivetrain_rival:odd"}},
    )
    plant_distribution(
        packages,
        "drivetrain-needy",
        "1.0",
        source="import acme_kernels\n",
        entry_points={OPTIMIZERS: {"needy": "drivetrain_needy:Needy"}},
        requires=["torch>=2.0", "acme-kernels>=3.1"],
    )
    return made


def test_import_drivetrain_says_nothing_of_them(venv: Venv) -> None:
    done = venv.run("python", "-W", "error", "-c", "import drivetrain")
    assert (done.stdout, done.stderr) == ("", "")


def test_listing_plugins_works_and_names_them_all(venv: Venv) -> None:
    done = venv.run("drivetrain", "plugins")
    assert not done.stderr
    for name in ("explosive", "hollow", "muon", "needy", "loud", "adamw_torch"):
        assert name in done.stdout


def test_a_run_that_names_none_of_them_trains_and_says_nothing_of_them(
    venv: Venv, training_script: Path, tmp_path: Path
) -> None:
    done = venv.run("python", training_script, "--optim", "adamw_torch", cwd=tmp_path)
    assert json.loads(done.stdout.splitlines()[-1])["optimizer"].endswith("AdamW")
    assert not done.stderr


@each_bad
def test_a_run_that_names_one_fails_before_there_is_a_model(
    bad: Bad, venv: Venv, training_script: Path, tmp_path: Path
) -> None:
    option = f"--{bad.option.replace('_', '-')}"
    done = venv.run("python", training_script, option, bad.value, cwd=tmp_path, fails=True)
    assert "model built" not in done.stdout
    message = done.stderr[done.stderr.rindex(f"{bad.error}: ") :]
    for text in bad.says:
        assert text in message


def test_of_two_with_one_name_the_qualified_name_chooses(
    venv: Venv, training_script: Path, tmp_path: Path
) -> None:
    done = venv.run("python", training_script, "--optim", "drivetrain-rival:muon", cwd=tmp_path)
    assert json.loads(done.stdout.splitlines()[-1])["optimizer"].endswith("SGD")


def test_a_broken_reporter_that_only_all_names_is_passed_over(
    venv: Venv, training_script: Path, tmp_path: Path
) -> None:
    done = venv.run("python", training_script, "--report-to", "all", cwd=tmp_path)
    assert json.loads(done.stdout.splitlines()[-1])["losses"]

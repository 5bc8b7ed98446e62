"""What every test gets: our own plugins alone, one thread, and a folder of its own to be in."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is imported, here and in subprocesses
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from pathlib import Path

import pytest

from drivetrain_registry import Entry, Registry, discover
from drivetrain_registry.kinds import REPORTER

REPOSITORY = Path(__file__).resolve().parent.parent
PROJECTS = [*REPOSITORY.glob("plugins/*/pyproject.toml"), *REPOSITORY.glob("contrib/*/pyproject.toml")]
OUR_PLUGINS = {f"drivetrain-{project.parent.name}" for project in PROJECTS} - {"drivetrain-template"}
BUILT_IN = ("torch", "tensorboard")
WITH_DRIVETRAIN = tuple(f"drivetrain-{name}" for name in BUILT_IN)


@pytest.fixture(scope="session")
def our_entries() -> list[Entry]:
    """The names that this repository's own plugins offer."""
    return [entry for entry in discover() if entry.distribution in OUR_PLUGINS]


def is_tracker(entry: Entry) -> bool:
    """Whether it is a reporter that `drivetrain` does not install by itself."""
    return entry.kind == REPORTER and entry.distribution not in WITH_DRIVETRAIN


@pytest.fixture(autouse=True)
def isolated_registry(
    request: pytest.FixtureRequest, our_entries: list[Entry], monkeypatch: pytest.MonkeyPatch
) -> Registry:
    """The default registry, made anew for each test: what a test registers is gone after it.

    It knows this repository's plugins, whatever else is installed, unless the test asks for the
    fixture `installed_plugins`. Trackers are known to their own tests only: `report_to="all"` is the default,
    and every run would be reported to all that need no key.
    """
    sees_all = "installed_plugins" in request.fixturenames
    folder = request.path.parent
    is_of_plugin = folder.parent == REPOSITORY / "tests" / "plugins" and folder.name not in BUILT_IN
    entries = our_entries if is_of_plugin else [entry for entry in our_entries if not is_tracker(entry)]
    registry = Registry() if sees_all else Registry(entries)
    monkeypatch.setattr("drivetrain_registry.registry._default", registry)
    return registry


@pytest.fixture
def installed_plugins(isolated_registry: Registry) -> Registry:
    """For a test that wants the default registry to look at what is really installed."""
    return isolated_registry


@pytest.fixture(autouse=True)
def levels_of_loggers() -> Iterator[None]:
    """What a run tells its loggers holds for the process: after a test it is what it was."""
    loggers = [
        logging.getLogger(name) for name in ("drivetrain", "transformers", "datasets", "accelerate")
    ]
    levels = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


@pytest.fixture(autouse=True)
def own_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test is in an empty folder: what a run writes by default stays out of the repository."""
    folder = tmp_path_factory.mktemp("cwd")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Tests run in as many processes as there are cores."""
    import torch

    torch.set_num_threads(1)

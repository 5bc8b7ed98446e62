"""Distributions that importlib.metadata really finds, and a registry that sees them and nothing else."""

from __future__ import annotations

import importlib
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from fakes import plant_distribution

from drivetrain_registry import Registry


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of an installation that has Python's own library and nothing else."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.setattr(sys, "path", [str(folder), *_standard_library()])
    importlib.invalidate_caches()
    before = set(sys.modules)
    yield folder
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.fixture
def registry(site: Path) -> Registry:
    """A registry that has not looked yet."""
    return Registry()


@pytest.fixture
def install(site: Path) -> Callable[..., Path]:
    """A function that installs a distribution of one module, and returns its folder of metadata.

    Keyword arguments that it does not know are optimizers and what they lead to: ``lion="Part"`` is the
    module's attribute ``Part``, and a value with a colon is left as it is.
    """

    def install(
        name: str,
        version: str = "1.0",
        *,
        source: str = "class Part: ...\n",
        requires: Sequence[str] = (),
        groups: Mapping[str, Mapping[str, str]] | None = None,
        folder: Path = site,
        **optimizers: str,
    ) -> Path:
        module = name.replace("-", "_")
        values = {n: v if ":" in v else f"{module}:{v}" for n, v in optimizers.items()}
        entry_points = {**({"drivetrain.optimizers": values} if values else {}), **(groups or {})}
        plant_distribution(
            folder, name, version, source=source, entry_points=entry_points, requires=requires
        )
        importlib.invalidate_caches()
        return folder / f"{module}-{version}.dist-info"

    return install


def _standard_library() -> list[str]:
    stdlib = sysconfig.get_path("stdlib")
    return [path for path in sys.path if path.startswith(stdlib) and "site-packages" not in path]

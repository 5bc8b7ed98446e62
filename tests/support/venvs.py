"""Virtual environments that see nothing of this repository, ready in a second or two.

Installing torch takes 40 s and 750 MB. So these environments borrow it and the other libraries: a
folder of links to just those packages and their metadata is put on their path. Drivetrain's own
distributions are not among them; they are installed from wheels, with pip, as a user would.
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


@dataclass(frozen=True)
class Venv:
    """A virtual environment.

    Attributes:
        folder: Where it is.
        wheelhouse: Where pip looks for distributions in it, and nowhere else.
    """

    folder: Path
    wheelhouse: Path

    @property
    def site_packages(self) -> Path:
        """Where pip installs to."""
        return (
            self.folder / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
        )

    def run(
        self,
        command: str,
        *arguments: object,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        fails: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command of the environment; it has to succeed, or to fail where a test says so."""
        path = f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
        dropped = {"PYTHONPATH", "PYTHONHOME", "COVERAGE_PROCESS_START"}
        inherited = {name: value for name, value in os.environ.items() if name not in dropped}
        done = subprocess.run(
            [self.folder / "bin" / command, *map(str, arguments)],
            cwd=cwd or self.folder,
            env={**inherited, "PATH": path, "VIRTUAL_ENV": str(self.folder), **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
        )
        said = f"{done.args}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert (done.returncode != 0) == fails, said
        return done

    def pip(self, *arguments: object) -> str:
        """Run the borrowed pip in the environment, without any index."""
        return self.run("python", "-m", "pip", "--disable-pip-version-check", *arguments).stdout

    def install(self, *requirements: object) -> None:
        """Install from the wheelhouse, with dependencies."""
        self.pip("install", "--quiet", "--no-index", "--find-links", self.wheelhouse, *requirements)


def make_venv(folder: Path, wheelhouse: Path, borrowed: tuple[str, ...]) -> Venv:
    """Make an environment that sees the distributions ``borrowed``, and what they require, and pip."""
    venv.create(folder, with_pip=False, symlinks=True)
    made = Venv(folder, wheelhouse)
    links = folder / "borrowed"
    links.mkdir()
    for found in _closure(("pip", *borrowed)):
        _link(found, links)
    (made.site_packages / "borrowed.pth").write_text(f"{links}\n", encoding="utf-8")
    return made


def _closure(names: tuple[str, ...]) -> Iterator[Distribution]:
    waiting, seen = list(names), set()
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name in seen:
            continue
        seen.add(name)
        try:
            found = distribution(name)
        except PackageNotFoundError:
            continue
        assert not name.startswith("drivetrain"), f"{name} must be installed from its wheel"
        yield found
        needed = (Requirement(line) for line in found.requires or [])
        waiting.extend(r.name for r in needed if r.marker is None or r.marker.evaluate({"extra": ""}))


def _link(found: Distribution, links: Path) -> None:
    """Link every file and folder that a distribution put directly into its site-packages."""
    tops = {file.parts[0] for file in found.files or []} - {"..", "__pycache__"}
    for top in tops:
        if not (links / top).exists():
            (links / top).symlink_to(Path(str(found.locate_file(top))))

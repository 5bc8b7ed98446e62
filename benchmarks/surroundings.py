"""What figures depend on besides the code: versions and the machine."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

LIBRARIES = {
    "drivetrain": "drivetrain-core",
    "torch": "torch",
    "transformers": "transformers",
    "Accelerate": "accelerate",
    "Lightning": "lightning",
    "ignite": "pytorch-ignite",
    "NumPy": "numpy",
}
"""What is compared or used, and the distribution that it is installed as."""


def find_versions() -> dict[str, str]:
    """The versions of Python and of what is installed."""
    versions = {"Python": platform.python_version()}
    for name, distribution in LIBRARIES.items():
        try:
            versions[name] = version(distribution)
        except PackageNotFoundError:
            continue
    return versions


def describe_machine() -> str:
    """Processor, cores and memory: nothing by which this one machine could be told from others like it."""
    memory = f", {_memory() / 2**30:.0f} GiB of memory" if _memory() else ""
    return f"{_processor()}, {os.cpu_count()} cores{memory}, {platform.system()}"


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def _memory() -> int:
    """Bytes; 0 where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 0

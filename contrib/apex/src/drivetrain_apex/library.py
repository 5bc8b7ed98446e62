"""What is installed under the name `apex`, which is not always NVIDIA's."""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

Part = Literal["amp", "optimizers"]

COMMANDS = (
    "git clone https://github.com/NVIDIA/apex && cd apex && "
    "APEX_CPP_EXT=1 APEX_CUDA_EXT=1 pip install --no-build-isolation ."
)
"""What to type for NVIDIA Apex, which no package index has."""

BUILD = f"build NVIDIA Apex: {COMMANDS}"
"""The same within a sentence."""


def explain_lack(part: Part, instead: str) -> str:
    """Why a part of NVIDIA Apex cannot be used on this machine and what to type; or nothing.

    Args:
        part: The part.
        instead: What to type to do without it.
    """
    lack, remedy = _find_lack(part)
    if not lack:
        return ""
    return f"cannot be used: {lack}. Type {instead}{f', or {remedy}' if remedy else '.'}"


def _find_lack(part: Part) -> tuple[str, str]:
    """What there is not, and how to get it; both empty if nothing is missing."""
    found = find_spec("apex")
    if found is None or found.origin is None:  # None: a folder that happens to have the name
        return "NVIDIA Apex is not installed", BUILD
    folders = [Path(folder) for folder in found.submodule_search_locations or ()]
    if not any((folder / "optimizers").is_dir() for folder in folders):
        return (
            "the installed package 'apex' is not NVIDIA's (the package index has under that name a "
            "toolkit for the web framework Pyramid)"
        ), f"pip uninstall apex, and {BUILD}"
    if not any((folder / part).is_dir() for folder in folders):
        return f"the installed NVIDIA Apex has no `apex.{part}`, which newer versions leave out", ""
    try:
        importlib.import_module(f"apex.{part}")
    except Exception as error:  # it is built for one version of torch and CUDA, and fails in many ways
        return f"the installed NVIDIA Apex fails with {type(error).__name__}: {error}", BUILD
    if part == "optimizers" and find_spec("amp_C") is None:
        return "the installed NVIDIA Apex was built without its CUDA kernels", BUILD
    return "", ""

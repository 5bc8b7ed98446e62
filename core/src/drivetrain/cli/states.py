"""What can be said of a plugin without importing it."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder

from drivetrain_registry import Entry
from drivetrain_registry.families import is_pattern
from drivetrain_registry.loading import pip_line
from drivetrain_registry.messages import show_use
from drivetrain_registry.requirements import Requirement, read_requirements

OK, CONFLICT = "ok", "conflict"
LIBRARY_MISSING, MODULE_MISSING = "library missing", "module missing"


@dataclass(frozen=True)
class PluginState:
    """One installed name, and whether it looks usable.

    Attributes:
        state: ``ok``, ``conflict``, ``library missing`` or ``module missing``.
        detail: What is wrong and what to type; empty if nothing is.
    """

    kind: str
    name: str
    distribution: str
    version: str
    state: str = OK
    detail: str = ""


def key_of(entry: Entry) -> str:
    """What tells an entry from the others of its distribution: ``optimizer/adamw_torch``."""
    return f"{entry.kind}/{entry.name}"


def read_states(entries: Sequence[Entry], everything: Sequence[Entry]) -> list[PluginState]:
    """The state of each of ``entries``.

    Args:
        entries: Those asked for.
        everything: All that is installed, to find other claims to their names.
    """
    return [_read_state(entry, everything) for entry in entries]


def explain_conflict(entry: Entry, everything: Iterable[Entry]) -> str:
    """What to type where another distribution claims the same name; empty where none does."""
    others = [
        other.provider
        for other in everything
        if other.name == entry.name and other.kind == entry.kind and other != entry
    ]
    if not others:
        return ""
    return (
        f"{' and '.join(others)} claim{'s' if len(others) == 1 else ''} the same name. "
        f"Type {show_use(entry.kind, _example_of(entry))} for this one."
    )


def _example_of(entry: Entry) -> str:
    """What to type for it; for one of a family's names, the beginning of that."""
    name = entry.qualified_name
    return f"{name.removesuffix('*')}..." if is_pattern(name) else name


def _read_state(entry: Entry, everything: Sequence[Entry]) -> PluginState:
    state, detail = OK, ""
    missing = _missing_requirements(entry.distribution)
    if missing:
        names = " and ".join(requirement.name for requirement in missing)
        state, detail = LIBRARY_MISSING, f"It needs {names}. Type: {pip_line(missing)}"
    elif not has_module(entry.module):
        state, detail = MODULE_MISSING, _explain_no_module(entry)
    else:
        detail = explain_conflict(entry, everything)
        state = CONFLICT if detail else OK
    return PluginState(entry.kind.name, entry.name, entry.distribution, entry.version, state, detail)


def _explain_no_module(entry: Entry) -> str:
    what = (
        f"There is no module {entry.module!r}."
        if entry.module
        else f"Its entry point is {entry.value!r}, which is no 'module:attribute'."
    )
    return f"{what} Type: pip install --force-reinstall {entry.distribution}"


@cache
def _missing_requirements(distribution: str) -> tuple[Requirement, ...]:
    return tuple(r for r in read_requirements(distribution) if not r.is_installed())


def find_missing_libraries(cls: type) -> dict[str, str]:
    """Of what a loaded plugin class says that it needs, what is not there, with what to type."""
    needed: Mapping[str, str] = getattr(cls, "needs_libraries", {})
    return {module: command for module, command in needed.items() if not has_module(module)}


def explain_missing_libraries(missing: Mapping[str, str]) -> str:
    """``needs torch_xla, which is not installed. Type: pip install torch_xla``; empty if all is there."""
    return " ".join(
        f"needs {module}, which is not installed. Type: {command}" for module, command in missing.items()
    )


@cache
def has_module(module: str) -> bool:
    """Whether a module can be found; neither it nor a package around it is imported."""
    package, _, rest = module.partition(".")
    spec = _find_package(package)
    for part in rest.split(".") if rest else []:
        if spec is None or spec.submodule_search_locations is None:
            return False
        package = f"{package}.{part}"
        spec = PathFinder.find_spec(package, list(spec.submodule_search_locations))
    return spec is not None


def _find_package(package: str) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(package) if package else None
    except (ImportError, ValueError):  # ValueError: it is imported and has no spec
        return None

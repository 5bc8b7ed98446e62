"""Import the one part that a name led to, and say what is wrong where that fails."""

from __future__ import annotations

import importlib
from types import ModuleType

from drivetrain_registry.discovery import Entry, InvalidEntryError
from drivetrain_registry.errors import (
    BrokenPluginError,
    DottedPathError,
    IncompatiblePluginError,
    MissingLibraryError,
)
from drivetrain_registry.kinds import API_VERSION
from drivetrain_registry.messages import find_near, join
from drivetrain_registry.requirements import Requirement


def load_entry(entry: Entry, option: str, name: str) -> object:
    """Import an installed part.

    Args:
        entry: Where it is.
        option: The argument that named it, for messages.
        name: What the user typed, for messages.

    Raises:
        MissingLibraryError: A distribution that the plugin requires is not installed.
        BrokenPluginError: Importing it raised anything else, ``SystemExit`` included.
    """
    try:
        return entry.load()
    except KeyboardInterrupt:
        raise
    except InvalidEntryError as error:
        raise BrokenPluginError(option, name, _explain_broken(entry, str(error))) from error
    except ImportError as error:
        missing = entry.missing_requirements()
        if missing:
            raise MissingLibraryError(option, name, _explain_missing(entry, missing)) from error
        raise BrokenPluginError(option, name, _explain_import(entry, error)) from error
    except BaseException as error:  # a module may call sys.exit() or pytest.skip() when it is imported
        raise BrokenPluginError(option, name, _explain_import(entry, error)) from error


def load_dotted_path(path: str, option: str) -> object:
    """Import ``package.module`` and return its attribute ``name`` for ``package.module.name``.

    Raises:
        DottedPathError: It has another form, the module cannot be imported, or has no such attribute.
    """
    if not all(part.isidentifier() for part in path.split(".")):
        raise DottedPathError(
            option, path, "is no dotted path. Write package.module.Name, as in an import."
        )
    module_name, _, attribute = path.rpartition(".")
    try:
        module = importlib.import_module(module_name)
        if hasattr(module, attribute):  # False for AttributeError only: a lazy module may raise others
            part: object = getattr(module, attribute)
            return part
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise DottedPathError(
            option,
            path,
            f"is a dotted path, and importing {module_name!r} raised {_show(error)}. "
            "Check the spelling, and that the module can be imported where this runs.",
        ) from error
    raise DottedPathError(option, path, _explain_no_attribute(module, attribute))


def check_api_version(option: str, name: str, part: object, entry: Entry | None) -> None:
    """Refuse a part that was written for another major version of the plugin interface.

    Raises:
        IncompatiblePluginError: It states an ``api_version`` that is not `API_VERSION`.
    """
    stated = getattr(part, "api_version", API_VERSION)
    if stated == API_VERSION:
        return
    is_newer = isinstance(stated, int) and stated > API_VERSION
    if is_newer:
        advice = "Type: pip install --upgrade drivetrain-core drivetrain-registry"
    elif entry:
        advice = f"Type: pip install --upgrade {entry.distribution}"
    else:
        advice = f"Change it to version {API_VERSION}, and its `api_version` with it."
    provider = f"is provided by {entry.provider} and " if entry else ""
    raise IncompatiblePluginError(
        option,
        name,
        f"{provider}was written for version {stated} of the plugin interface; this drivetrain speaks "
        f"version {API_VERSION}. {advice}",
    )


def _explain_import(entry: Entry, error: BaseException) -> str:
    return _explain_broken(entry, f"importing {entry.value!r} raised {_show(error)}")


def _explain_broken(entry: Entry, reason: str) -> str:
    return (
        f"is provided by {entry.provider}, which is broken: {reason}. "
        f"Type: pip install --upgrade --force-reinstall {entry.distribution}; "
        f"if that does not help, tell its authors, or choose another {entry.kind}."
    )


def _explain_missing(entry: Entry, requirements: tuple[Requirement, ...]) -> str:
    libraries = join(requirement.text for requirement in requirements)
    is_or_are = "is" if len(requirements) == 1 else "are"
    return (
        f"is provided by {entry.provider}; {libraries}, which it needs, {is_or_are} not installed. "
        f"Type: {pip_line(requirements)}"
    )


def pip_line(requirements: tuple[Requirement, ...]) -> str:
    """What to type to install them: quoted, or the shell would take ``>`` for itself."""
    return "pip install " + " ".join(f'"{requirement.text}"' for requirement in requirements)


def _explain_no_attribute(module: ModuleType, attribute: str) -> str:
    near = find_near(attribute, [name for name in vars(module) if not name.startswith("_")])
    paths = (repr(f"{module.__name__}.{name}") for name in near)
    hint = f" Did you mean {join(paths, 'or')}?" if near else ""
    return f"is a dotted path, and the module {module.__name__!r} has no {attribute!r}.{hint}"


def _show(error: BaseException) -> str:
    """An error's class and first line: some carry a page of text."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0].rstrip('.')}" if lines else type(error).__name__

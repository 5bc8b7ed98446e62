"""Arguments that are written down in a file."""

from __future__ import annotations

import importlib
import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from drivetrain_registry import UsageError

PathLike = str | os.PathLike[str]


def read_json(path: PathLike) -> dict[str, Any]:
    """The object in a JSON file."""
    return _read(path, "json_file", "JSON", json.loads)


def read_yaml(path: PathLike) -> dict[str, Any]:
    """The mapping in a YAML file."""
    return _read(path, "yaml_file", "YAML", _parse_yaml)


def read_toml(path: PathLike) -> dict[str, Any]:
    """The keys of a TOML file."""
    return _read(path, "toml_file", "TOML", _parse_toml)


def read_words(path: PathLike) -> list[str]:
    """The words of a file of flags: separated by white space, without quotes, as published."""
    return Path(path).read_text(encoding="utf-8").split()


def _read(path: PathLike, option: str, kind: str, parse: Callable[[str], Any]) -> dict[str, Any]:
    text = Path(path).expanduser().read_text(encoding="utf-8")
    try:
        values = parse(text)
    except UsageError:
        raise
    except ValueError as error:
        raise UsageError(f"`{option}`: {os.fspath(path)!r} is no {kind}: {error}") from None
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise UsageError(
            f"`{option}`: {os.fspath(path)!r} does not hold names with values. Write one name with its "
            "value for each argument."
        )
    return values


def _parse_yaml(text: str) -> Any:
    yaml = _import("yaml", "yaml_file", "YAML", "pyyaml")
    # YAML 1.1 wants a point in a number with an exponent, and has 5e-5 a text.
    Loader: Any = type("Loader", (yaml.SafeLoader,), {})
    Loader.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
    )
    try:
        return yaml.load(text, Loader)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None


def _parse_toml(text: str) -> Any:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        tomllib = _import("tomli", "toml_file", "TOML", "tomli")
    return tomllib.loads(text)


def _import(module: str, option: str, kind: str, package: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ImportError:
        raise UsageError(
            f"`{option}`: reading {kind} needs the package {package}, which is not installed. "
            f"Type: pip install {package}"
        ) from None

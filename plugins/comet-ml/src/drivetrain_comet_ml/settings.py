"""Which experiment a run is reported to: options, then environment variables, then arguments."""

from __future__ import annotations

import configparser
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from drivetrain.plugin import find_unclear_switches, read_switch

if TYPE_CHECKING:
    from drivetrain import TrainingArguments

StartMode = Literal["get_or_create", "create", "get"]
"""Whether an experiment of that key is looked for, made, or has to be there."""

_CONNECTIONS: Mapping[str, bool | None] = {"online": True, "offline": False, "disabled": None}
_KEY = re.compile(r"[A-Za-z0-9]{32,50}")


@dataclass(frozen=True)
class CometOptions:
    """Options of `comet_ml` in `reporter_args`; None: what the environment says.

    Attributes:
        workspace: Whose experiment it is.
        project: The project's name, instead of ``COMET_PROJECT_NAME`` and `project`.
        experiment_key: The key of the experiment: 32 to 50 letters and digits.
        mode: Make an experiment, go on with the one of that key, or whichever is possible.
        online: False: write an archive for ``comet upload`` instead.
        offline_directory: Where archives are written to.
        tags: Labels of the experiment.
        log_assets: Keep checkpoints and the model.
        log_code: Let Comet log the source code.
        log_git: Let Comet log the state of the git repository.
        log_environment: Let Comet log the machine, and measure its processors and memory.
        log_console: Let Comet log what is printed.
    """

    workspace: str | None = None
    project: str | None = None
    experiment_key: str | None = None
    mode: StartMode | None = None
    online: bool | None = None
    offline_directory: str | None = None
    tags: tuple[str, ...] = ()
    log_assets: bool | None = None
    log_code: bool | None = None
    log_git: bool | None = None
    log_environment: bool | None = None
    log_console: bool | None = None


@dataclass(frozen=True)
class Settings:
    """What the options, the environment and the arguments come to; None is for the library to choose."""

    project: str | None
    key: str | None
    mode: str | None
    is_online: bool
    is_disabled: bool
    logs_assets: bool


def read_settings(args: TrainingArguments, options: CometOptions) -> Settings:
    """What to do, by options first, then by environment variables, then by arguments."""
    named = os.environ.get("COMET_MODE", "").strip().lower()
    online = options.online
    if online is None:
        online = _CONNECTIONS[named] if named in _CONNECTIONS else read_switch("COMET_START_ONLINE")
    logs_assets = options.log_assets
    return Settings(
        project=options.project or os.environ.get("COMET_PROJECT_NAME") or args.project,
        key=options.experiment_key or os.environ.get("COMET_EXPERIMENT_KEY"),
        mode=options.mode or _read_mode(named),
        is_online=online is not False,
        is_disabled=options.online is None and named == "disabled",
        logs_assets=bool(read_switch("COMET_LOG_ASSETS") if logs_assets is None else logs_assets),
    )


def find_problems(options: CometOptions, settings: Settings) -> Iterator[str]:
    """What is known to be wrong without a network, a whole message each."""
    named = os.environ.get("COMET_MODE", "").strip().lower()
    allowed = (*get_args(StartMode), *_CONNECTIONS)
    if named and named not in allowed:
        yield (
            f"`report_to`: COMET_MODE={named!r} is none of {', '.join(allowed)}. "
            "Type: export COMET_MODE=get_or_create"
        )
    if settings.mode is not None and settings.mode not in get_args(StartMode):
        yield (
            f"`report_to`: COMET_START_MODE={settings.mode!r} is none of {', '.join(get_args(StartMode))}. "
            "Type: export COMET_START_MODE=get_or_create"
        )
    yield from find_unclear_switches("COMET_START_ONLINE", "COMET_LOG_ASSETS")
    if settings.key is not None and not _KEY.fullmatch(settings.key):
        yield (
            "`report_to`: the key of a Comet experiment is 32 to 50 letters and digits, not "
            f"{settings.key!r}. Leave out experiment_key and COMET_EXPERIMENT_KEY for a new one."
        )
    if settings.mode == "get" and settings.key is None:
        yield (
            "`report_to`: to go on with an experiment of Comet (mode 'get'), its key is needed. "
            "Type: export COMET_EXPERIMENT_KEY=..."
        )
    if settings.is_online and not settings.is_disabled and not _has_api_key():
        yield (
            "`report_to`: 'comet_ml' has no API key. Type: export COMET_API_KEY=... (or comet login), or for "
            'an archive to upload later reporter_args={"comet_ml": {"online": False}}'
        )


def _read_mode(named: str) -> str | None:
    """What to do about an experiment that is there: as ``COMET_MODE`` says, else as ``COMET_START_MODE``."""
    if named in get_args(StartMode):
        return named
    return os.environ.get("COMET_START_MODE") or None


def choose_automatic(options: CometOptions) -> dict[str, Any]:
    """What Comet logs by itself: nothing but what an option or one of its own variables asks for."""
    environment = _ask(options.log_environment, "COMET_AUTO_LOG_ENV_DETAILS")
    chosen: dict[str, Any] = {
        f"log_env_{part}": environment and _ask(None, f"COMET_AUTO_LOG_ENV_{part.upper()}", True)
        for part in ("gpu", "cpu", "host", "network", "disk")
    }
    return {
        **chosen,
        "log_env_details": environment,
        "log_code": _ask(options.log_code, "COMET_AUTO_LOG_CODE"),
        "log_git_metadata": _ask(options.log_git, "COMET_AUTO_LOG_GIT_METADATA"),
        "log_git_patch": _ask(options.log_git, "COMET_AUTO_LOG_GIT_PATCH"),
        "log_graph": _ask(None, "COMET_AUTO_LOG_GRAPH"),
        "parse_args": _ask(None, "COMET_AUTO_LOG_CLI_ARGUMENTS"),
        "auto_param_logging": _ask(None, "COMET_AUTO_LOG_PARAMETERS"),
        "auto_metric_logging": _ask(None, "COMET_AUTO_LOG_METRICS"),
        "auto_log_co2": _ask(None, "COMET_AUTO_LOG_CO2"),
        "auto_output_logging": _choose_console(options.log_console),
        "display_summary_level": int(os.environ.get("COMET_DISPLAY_SUMMARY_LEVEL") or 0),
    }


def _choose_console(wanted: bool | None) -> str | bool:
    if wanted is None:
        return os.environ.get("COMET_AUTO_LOG_OUTPUT_LOGGER") or False
    return "simple" if wanted else False


def _ask(option: bool | None, variable: str, default: bool = False) -> bool:
    if option is not None:
        return option
    said = read_switch(variable)
    return default if said is None else said


def _has_api_key() -> bool:
    """Whether one is in the environment or in a file where the library looks for its settings."""
    if os.environ.get("COMET_API_KEY"):
        return True
    folder_or_file = os.environ.get("COMET_CONFIG") or os.environ.get("COMET_INI")
    paths = [Path(".comet.config"), Path("~/.comet.config"), Path(".env")]
    if folder_or_file:
        paths += [Path(folder_or_file), Path(folder_or_file, ".comet.config")]
    return any(_names_api_key(path.expanduser()) for path in paths)


def _names_api_key(path: Path) -> bool:
    try:
        text = path.read_text()
    except OSError:
        return False
    if path.name == ".env":
        return re.search(r"^\s*(export\s+)?COMET_API_KEY\s*=\s*\S", text, re.MULTILINE) is not None
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string(text)
    except configparser.Error:
        return False
    return bool(parser.get("comet", "api_key", fallback=""))

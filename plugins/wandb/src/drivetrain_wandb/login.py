"""Whether wandb can log in without asking: looked up where it looks, without a network."""

from __future__ import annotations

import configparser
import netrc
import os
import sys
from pathlib import Path
from urllib.parse import urlsplit

_ADDRESS = "https://api.wandb.ai"
_LENGTH_OF_KEY = 40


def explain_missing_login() -> str | None:
    """What is wrong with the login, and what to type; None if there is one, or none is needed."""
    settings = _read_settings()
    if os.environ.get("WANDB_IDENTITY_TOKEN_FILE") or _has_run():
        return None
    address = os.environ.get("WANDB_BASE_URL") or settings.get("base_url") or _ADDRESS
    key = os.environ.get("WANDB_API_KEY") or _read_netrc(address) or settings.get("api_key")
    if not key:
        return (
            f"`report_to`: 'wandb' has no API key for {address}. Type `wandb login`, or "
            "WANDB_MODE=offline to keep the run on this machine, where `wandb sync` finds it."
        )
    if len(key.split("-", 1)[-1]) < _LENGTH_OF_KEY:
        return (
            f"`report_to`: 'wandb' has an API key of {len(key)} characters, which have to be "
            f"{_LENGTH_OF_KEY} or more. Type `wandb login --relogin`, or look at WANDB_API_KEY."
        )
    return None


def find_mode(option: str | None) -> str:
    """The mode of the next run: as typed, from the environment, or from wandb's settings file."""
    return (option or os.environ.get("WANDB_MODE") or _read_settings().get("mode", "online")).lower()


def _read_settings() -> dict[str, str]:
    """What `wandb offline`, `wandb login --host` and the like left: for the user, then for this folder."""
    folder = Path(os.environ.get("WANDB_CONFIG_DIR") or "~/.config/wandb").expanduser()
    here = Path(os.environ.get("WANDB_DIR") or ".", "wandb", "settings")
    settings: dict[str, str] = {}
    for path in (folder / "settings", here):
        parser = configparser.ConfigParser(interpolation=None)
        try:
            parser.read(path)
            settings.update(parser["default"] if parser.has_section("default") else {})
        except (configparser.Error, OSError, UnicodeDecodeError):
            continue  # wandb says so when the run begins
    return settings


def _read_netrc(address: str) -> str | None:
    named = os.environ.get("NETRC")
    paths = [Path(named)] if named else [Path("~/.netrc"), Path("~/_netrc")]
    for path in paths:
        try:
            found = netrc.netrc(path.expanduser()).authenticators(urlsplit(address).netloc)
        except (netrc.NetrcParseError, OSError):
            continue
        return found[2] if found else None
    return None


def _has_run() -> bool:
    """Whether the user began a run in this process."""
    return getattr(sys.modules.get("wandb"), "run", None) is not None

"""Repositories on DagsHub: which one, with whose credentials, and sending files there."""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlparse


class Repository(NamedTuple):
    """A repository: its owner and its name."""

    owner: str
    name: str


def find_repository(typed: str) -> Repository | None:
    """What was typed, ``owner/name``, else the repository of ``MLFLOW_TRACKING_URI``; None without either."""
    path = typed or urlparse(os.environ.get("MLFLOW_TRACKING_URI", "")).path
    parts = path.strip("/").split("/")
    if len(parts) != 2 or not all(parts):
        return None
    return Repository(parts[0], parts[1].removesuffix(".mlflow"))


def has_credentials() -> bool:
    """Whether there is a token, or a name with a password, in the environment or from ``dagshub login``."""
    if os.environ.get("DAGSHUB_USER_TOKEN") or _read_password() is not None:
        return True
    cache = os.environ.get("DAGSHUB_CLIENT_TOKENS_CACHE")
    if cache is None:
        cache = os.path.join(importlib.import_module("appdirs").user_cache_dir("dagshub"), "tokens")
    return os.path.isfile(cache)


def upload(
    repository: Repository, branch: str, directory: str, paths: Iterable[Path], message: str
) -> None:
    """Send files, and all that is in folders, in one commit.

    Args:
        repository: Where to.
        branch: The branch that is committed to.
        directory: The folder in the repository.
        paths: Files, which lie in that folder then, and folders, whose files do.
        message: Of the commit.

    Raises:
        RuntimeError: There is no valid token. Nobody is asked for one.
    """
    from dagshub.auth import get_token
    from dagshub.common import config
    from dagshub.upload import Repo

    config.quiet = True
    username, password = _read_password() or (None, None)
    token = os.environ.get("DAGSHUB_USER_TOKEN")
    if token is None and password is None:
        token = get_token(fail_if_no_token=True)
    repo = Repo(*repository, username=username, password=password, token=token, branch=branch)
    with contextlib.ExitStack() as stack:
        files = [
            (name, stack.enter_context(path.open("rb")))
            for root in paths
            for name, path in _files_in(root)
        ]
        repo.upload_files(
            files, directory_path=directory, commit_message=message, versioning="dvc", quiet=True
        )


def _read_password() -> tuple[str, str] | None:
    username = os.environ.get("DAGSHUB_USERNAME")
    password = os.environ.get("DAGSHUB_PASSWORD")
    return (username, password) if username and password else None


def _files_in(root: Path) -> list[tuple[str, Path]]:
    if root.is_file():
        return [(root.name, root)]
    return [
        (path.relative_to(root).as_posix(), path) for path in sorted(root.rglob("*")) if path.is_file()
    ]

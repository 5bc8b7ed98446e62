"""A database file of MLflow's that is there whole, or not at all."""

from __future__ import annotations

import glob
import os
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any

_SECONDS_UNTIL_LEFT = 60
"""After so long without a change nobody is making a file any more: it takes seconds, and all write to it."""


def make_database(uri: str) -> None:
    """Make the database that an address tells of, if that is a file of SQLite's which is not there yet.

    MLflow takes seconds to make its tables. If the process ends meanwhile, nothing can go on with what it
    leaves: so the file gets its name when it is done.
    """
    url = _read_url(uri)
    path = None if url is None else Path(url.database)
    if path is None:
        return
    _remove_left(path)
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{uuid.uuid4().hex}.new")
    try:
        _make_tables(url.set(database=str(new)))
        _rename(new, path)
    finally:
        new.unlink(missing_ok=True)


def _read_url(uri: str) -> Any:
    """The address as SQLAlchemy reads it, or None if it does not lead to a file of SQLite's."""
    if not uri.startswith("sqlite"):
        return None
    from sqlalchemy.engine import make_url

    url = make_url(uri)
    is_file = url.database and url.database != ":memory:" and not url.database.startswith("file:")
    return url if is_file else None


def _make_tables(url: Any) -> None:
    from mlflow.store.db import utils

    engine = utils.create_sqlalchemy_engine_with_retry(url.render_as_string(hide_password=False))
    try:
        utils._initialize_tables(engine)
    finally:
        engine.dispose()


def _rename(new: Path, path: Path) -> None:
    """Give the file its name, unless another process was faster: what it keeps there stays."""
    try:
        os.link(new, path)
    except FileExistsError:
        return
    except OSError:  # a file system without links
        if not path.exists():
            os.replace(new, path)


def _remove_left(path: Path) -> None:
    """Remove what processes left that ended while they made the database."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.new*"):
        with suppress(OSError):  # somebody else did, or it is not ours
            if time.time() - left.stat().st_mtime > _SECONDS_UNTIL_LEFT:
                left.unlink()

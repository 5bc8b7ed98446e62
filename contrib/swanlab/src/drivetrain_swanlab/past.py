"""What a run on this machine has logged before, read from the files that swanlab wrote."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

_STORE = "swanlab.sdk.internal.core_python.store"
_RECORD = "swanlab.proto.swanlab.record.v1.record_pb2"


def read_last_steps(log_dir: Path, run_id: str) -> dict[str, int]:
    """The last step of each metric in the folders of a run.

    Args:
        log_dir: Where swanlab puts the folders of its runs.
        run_id: The run's id.
    """
    steps: dict[str, int] = {}
    for file in sorted(log_dir.glob(f"run-*-{run_id}/*.swanlab")):
        try:
            _add_last_steps(file, steps)
        except OSError as error:
            logger.warning(f"swanlab: {file} cannot be read, so steps may show twice: {error}")
    return steps


def _add_last_steps(file: Path, steps: dict[str, int]) -> None:
    for record in read_records(file):
        kind = record.WhichOneof("record_type")
        if kind in ("scalar", "media"):
            value = getattr(record, kind)
            steps[value.key] = max(value.step, steps.get(value.key, -1))


def read_records(file: Path) -> Iterator[Any]:
    """The records of a file, as far as it is whole: a process that is killed leaves it torn."""
    reader = import_module(_STORE).DataStoreReader()
    try:
        reader.open(file)
    except AssertionError:  # not even its header is there
        return
    with contextlib.closing(reader):
        while data := _read_next(reader):
            record = import_module(_RECORD).Record()
            record.ParseFromString(data)
            yield record


def _read_next(reader: Any) -> bytes | None:
    try:
        data: bytes | None = reader.scan()
    except Exception:  # whatever it makes of a torn end
        return None
    return data

"""What wandb left in the files of runs that were not sent."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_BLOCK = 32 * 1024
_FILE_HEADER, _PIECE_HEADER = 7, 7
_WHOLE, _LAST = 1, 4


@dataclass
class WandbRun:
    """A run as one file tells it: ``rows`` of history, ``artifacts`` by name and aliases, ..."""

    id: str = ""
    name: str = ""
    project: str = ""
    tags: list[str] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    artifacts: list[tuple[str, str, list[str], list[str]]] = field(default_factory=list)
    step_metrics: dict[str, str] = field(default_factory=dict)
    exit_code: int | None = None


def read_runs(folder: Path) -> list[WandbRun]:
    """The runs in ``folder``/wandb, in the order in which they began.

    wandb writes in a process of its own, which may still do so when `finish` returns: this waits until
    each run says how it ended.
    """
    deadline = time.monotonic() + 20
    while True:
        files = sorted((folder / "wandb").glob("*run-*/run-*.wandb"), key=_began)
        runs = [read_run(file) for file in files]
        if all(run.exit_code is not None for run in runs) or time.monotonic() > deadline:
            return runs
        time.sleep(0.05)


def read_run(file: Path) -> WandbRun:
    """The run that a file tells of."""
    run = WandbRun()
    for record in _read_records(file.read_bytes()):
        _take(record, run)
    return run


def _began(file: Path) -> str:
    """Folders are named by the second, and by what began within it: ``offline-run-20261123_180000-id-1``."""
    return file.parent.name


def _take(record: Any, run: WandbRun) -> None:
    kind = record.WhichOneof("record_type")
    if kind == "run":
        run.id, run.name = record.run.run_id, record.run.display_name
        run.project, run.tags = record.run.project, list(record.run.tags)
        run.config.update(_values(record.run.config.update))
    elif kind == "config":
        run.config.update(_values(record.config.update))
    elif kind == "summary":
        run.summary.update(_values(record.summary.update))
    elif kind == "history":
        run.rows.append(_values(record.history.item))
    elif kind == "metric":
        name = record.metric.name or record.metric.glob_name
        run.step_metrics[name] = record.metric.step_metric
    elif kind == "exit":
        run.exit_code = record.exit.exit_code
    elif kind == "request" and record.request.WhichOneof("request_type") == "log_artifact":
        run.artifacts.append(_artifact(record.request.log_artifact.artifact))
    elif kind == "artifact":
        run.artifacts.append(_artifact(record.artifact))


def _artifact(artifact: Any) -> tuple[str, str, list[str], list[str]]:
    paths = sorted(entry.path for entry in artifact.manifest.contents)
    return artifact.name, artifact.type, sorted(artifact.aliases), paths


def _values(items: Any) -> dict[str, Any]:
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}


def _read_records(data: bytes) -> Iterator[Any]:
    """Records in the format of LevelDB's log: pieces within blocks, after a header of the file."""
    from wandb.proto import wandb_internal_pb2

    assert data[:4] == b":W&B"
    position, collected = _FILE_HEADER, b""
    while position + _PIECE_HEADER <= len(data):
        left = _BLOCK - position % _BLOCK
        _, length, kind = struct.unpack_from("<IHB", data, position)
        if left < _PIECE_HEADER or kind == 0:
            position += left
            continue
        position += _PIECE_HEADER
        collected += data[position : position + length]
        position += length
        if kind in (_WHOLE, _LAST):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(collected)
            collected = b""
            yield record

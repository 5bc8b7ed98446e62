"""Up to which step Comet has a metric already."""

from __future__ import annotations

import json
import logging
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

Steps = dict[str, int]
"""The last step of each metric."""


def read_archives(folder: str | Path, key: str) -> Steps:
    """The last steps in the archives of an experiment that was reported to offline."""
    steps: Steps = {}
    for path in Path(folder).glob(f"{key}*.zip"):
        for name, step in _read_archive(path):
            steps[name] = max(step, steps.get(name, step))
    return steps


def ask_server(comet_ml: Any, key: str) -> Steps:
    """The last steps that Comet's server knows of; nothing, with a warning, if it does not say."""
    try:
        experiment = comet_ml.API().get_experiment_by_key(key)
        found = experiment.get_metrics_summary() if experiment is not None else []
    except Exception as error:
        logger.warning(
            f"Comet: it is unknown up to which step experiment {key} goes ({error}): steps may show twice."
        )
        return {}
    return {
        entry["name"]: int(entry["stepCurrent"])
        for entry in found
        if entry.get("stepCurrent") is not None
    }


def _read_archive(path: Path) -> Iterator[tuple[str, int]]:
    try:
        with zipfile.ZipFile(path) as archive:
            lines = archive.read("messages.json").decode().splitlines()
    except (OSError, KeyError, zipfile.BadZipFile):
        return  # of a run that was killed, or not ours
    for line in lines:
        message = json.loads(line)
        metric = message["payload"].get("metric") if message["type"] == "metric_msg" else None
        if metric and metric.get("step") is not None:
            yield metric["metricName"], int(metric["step"])

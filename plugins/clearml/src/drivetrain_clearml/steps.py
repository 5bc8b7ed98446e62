"""Up to which step ClearML has a metric already."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

Steps = dict[str, int]
"""The last step of each metric."""


def find_last_steps(task: Any) -> Steps:
    """Those that the offline session or the server has; nothing, with a warning, if it does not say."""
    folder = task.get_offline_mode_folder()
    if folder is not None:
        return _read_session(Path(str(folder), "metrics.jsonl"))
    try:
        plots = task.get_reported_scalars()
    except Exception as error:
        logger.warning(
            f"ClearML: it is unknown up to which step task {task.id} goes ({error}): steps may show twice."
        )
        return {}
    return {
        f"{title}/{name}": int(max(points["x"]))
        for title, series in plots.items()
        for name, points in series.items()
        if points["x"]
    }


def _read_session(path: Path) -> Steps:
    steps: Steps = {}
    for line in path.read_text().splitlines() if path.is_file() else []:
        for event in json.loads(line):
            if event["type"] == "training_stats_scalar":
                name = f"{event['metric']}/{event['variant']}"
                steps[name] = max(event["iter"], steps.get(name, event["iter"]))
    return steps

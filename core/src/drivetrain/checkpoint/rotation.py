"""Deleting checkpoints that are no longer wanted."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

from drivetrain.checkpoint.layout import list_checkpoints
from drivetrain.checkpoint.writing import delete

logger = logging.getLogger(__name__)


def rotate(
    output_dir: Path,
    limit: int | None,
    wanted: Iterable[str | Path | None],
    newest: Path | None = None,
) -> None:
    """Delete the checkpoints that were written first, beyond ``limit``; never the best and the newest.

    The best counts towards the limit, but a limit of 1 keeps it beside the newest: training must be
    able to go on. Age is the time of writing, for a folder may hold an earlier run that got further.

    Args:
        output_dir: The folder with the checkpoints.
        limit: How many to keep; None for all.
        wanted: Those that are to stay whatever their age: the best one, if there is one.
        newest: The one that was just written.
    """
    if limit is None:
        return
    by_step = list_checkpoints(output_dir)
    checkpoints = sorted(
        by_step, key=lambda path: (path == newest, path.stat().st_mtime_ns, by_step.index(path))
    )
    kept = set(checkpoints[-1:])
    stay = {Path(path).resolve() for path in wanted if path is not None}
    kept |= {path for path in checkpoints if path.resolve() in stay}
    for checkpoint in reversed(checkpoints):
        if len(kept) < limit:
            kept.add(checkpoint)
    for checkpoint in checkpoints:
        if checkpoint not in kept:
            logger.info("Deleting %s, for `save_total_limit` is %d.", checkpoint, limit)
            delete(checkpoint)

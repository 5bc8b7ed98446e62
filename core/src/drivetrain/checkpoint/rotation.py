"""Deleting checkpoints that are no longer wanted."""

from __future__ import annotations

import logging
from pathlib import Path

from drivetrain.checkpoint.layout import list_checkpoints
from drivetrain.checkpoint.writing import delete

logger = logging.getLogger(__name__)


def rotate(output_dir: Path, limit: int | None, best: str | None) -> None:
    """Delete the oldest checkpoints beyond ``limit``; the best and the newest are never deleted.

    The best counts towards the limit, but a limit of 1 keeps it beside the newest: training must be
    able to go on.
    """
    if limit is None:
        return
    checkpoints = list_checkpoints(output_dir)
    kept = set(checkpoints[-1:])
    if best is not None:
        kept |= {path for path in checkpoints if path.resolve() == Path(best).resolve()}
    for checkpoint in reversed(checkpoints):
        if len(kept) < limit:
            kept.add(checkpoint)
    for checkpoint in checkpoints:
        if checkpoint not in kept:
            logger.info("Deleting %s, for `save_total_limit` is %d.", checkpoint, limit)
            delete(checkpoint)

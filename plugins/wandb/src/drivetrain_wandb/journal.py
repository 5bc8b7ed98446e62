"""What a run has reported so far, in a small file beside its checkpoints.

wandb keeps no step per metric that could be asked for without its server. So the last step of each
metric is written down, and a run that goes on from a checkpoint leaves out what is there already.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)


class Journal:
    """The last step of each metric, and how many rows of history there are.

    Args:
        path: The file.
        start_step: The update that the run goes on from.
        goes_on: Read what is there of the run; else the file is of another, and is replaced.

    Attributes:
        num_rows: Rows of history that were reported.
        known: The last step of each metric before this part of the run began.
    """

    def __init__(self, path: Path, start_step: int, goes_on: bool) -> None:
        self._path, self._start_step = path, start_step
        self._has_complained = False
        self.num_rows, self.known = _read(path) if goes_on else (0, {})
        self._steps = dict(self.known)
        if not goes_on:
            self._save()

    def select_new(self, values: Mapping[str, Any], step: int) -> dict[str, Any]:
        """The values that were not reported before this part of the run began."""
        if step <= self._start_step:
            return dict(values)
        return {name: value for name, value in values.items() if step > self.known.get(name, -1)}

    def add(self, values: Mapping[str, Any], step: int) -> None:
        """Write down that a row with these values was reported."""
        self.num_rows += 1
        for name in values:
            self._steps[name] = max(step, self._steps.get(name, step))
        self._save()

    def _save(self) -> None:
        """Replace the file. The row is reported already, so that this must not raise."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            new = self._path.with_name(f"{self._path.name}.new")
            new.write_text(json.dumps({"num_rows": self.num_rows, "steps": self._steps}))
            os.replace(new, self._path)
        except OSError as error:
            if not self._has_complained:
                self._has_complained = True
                logger.warning(
                    f"wandb: {self._path} cannot be written, so steps may be reported twice if the run is "
                    f"resumed: {error}"
                )


def _read(path: Path) -> tuple[int, dict[str, int]]:
    try:
        found = json.loads(path.read_text())
        return int(found["num_rows"]), {str(name): int(step) for name, step in found["steps"].items()}
    except FileNotFoundError:
        pass
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        logger.warning(f"wandb: {path} cannot be read, so steps may be reported twice: {error}")
    return 0, {}

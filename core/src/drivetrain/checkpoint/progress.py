"""How far a run is, beyond what the published ``trainer_state.json`` has fields for: ``progress.json``."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from drivetrain.checkpoint.layout import PROGRESS


@dataclass
class Progress:
    """How far a run is within a pass over the data, and what was added up so far.

    Attributes:
        epoch: The pass, from 0.
        updates: Updates of the pass that are done.
        samples: Samples of the pass that were trained on, over all processes.
        is_epoch_over: What comes after the pass's last update is done, too.
        is_epoch_left: The control says to leave the pass.
        is_stopping: The control says to stop training before its end.
        put_off: What should have been done before the checkpoint was saved, and is done when the run goes
            on: ``"evaluate"``, then ``"save"``.
        samples_per_update: Samples of an update, over all processes.
        is_resized: Updates of the run had another size before.
        num_examples: Samples of the data set; 0 if that is not known.
        first_step: The update after which the sums below begin: 0, if the run was trained here alone.
        last_logged: The update of the last log.
        losses: The sums of losses; see `LossMeter.state`.
        measurements: Gradient norm and learning rate of the last update.
        runtime: Seconds of training so far.
    """

    epoch: int = 0
    updates: int = 0
    samples: int = 0
    is_epoch_over: bool = False
    is_epoch_left: bool = False
    is_stopping: bool = False
    put_off: list[str] = field(default_factory=list)
    samples_per_update: int = 0
    is_resized: bool = False
    num_examples: int = 0
    first_step: int = 0
    last_logged: int = 0
    losses: dict[str, float] = field(default_factory=dict)
    measurements: dict[str, float] = field(default_factory=dict)
    runtime: float = 0.0

    def to_json(self) -> str:
        """As ``progress.json`` has it."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"


def read_progress(checkpoint: Path) -> Progress | None:
    """Read how far the run was; None for a checkpoint that does not say it (of transformers' Trainer)."""
    from drivetrain.checkpoint.manifest import is_superseded

    file = checkpoint / PROGRESS
    if not file.is_file() or is_superseded(checkpoint):
        return None
    values: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    known = {member.name for member in dataclasses.fields(Progress)}
    return Progress(**{name: value for name, value in values.items() if name in known})

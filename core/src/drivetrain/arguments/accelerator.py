"""`AcceleratorConfig`: how data is handed to processes, with the names that Accelerate gave it."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass
class AcceleratorConfig:
    """How batches come to processes.

    Attributes:
        split_batches: A loader's batch is for all processes together, not for each.
        dispatch_batches: The first process reads and sends the others their part. By default: for data
            without a length.
        even_batches: Samples are repeated where a pass does not divide evenly.
        use_seedable_sampler: The order of an epoch depends on the seed and the epoch only. If not: the
            orders of all epochs are drawn from one generator, one after the other.
        non_blocking: Batches are copied to the device while the CPU goes on. By default they are.
        gradient_accumulation_kwargs: ``{"num_steps": 4}`` is ``gradient_accumulation_steps=4``.
        use_configured_state: Take the state that Accelerate was put into before.
    """

    split_batches: bool = False
    dispatch_batches: bool | None = None
    even_batches: bool = True
    use_seedable_sampler: bool = True
    non_blocking: bool | None = None
    gradient_accumulation_kwargs: dict[str, Any] | None = None
    use_configured_state: bool = False

    @classmethod
    def from_json_file(cls, json_file: str | Path) -> AcceleratorConfig:
        """Read it from a JSON file.

        Raises:
            TypeError: The file has a key that is no field.
        """
        return cls(**json.loads(Path(json_file).read_text(encoding="utf-8")))

    def to_dict(self) -> dict[str, Any]:
        """The fields by name."""
        return dataclasses.asdict(self)

    def changed(self) -> dict[str, Any]:
        """The fields that do not have their default."""
        fields = {field.name: field.default for field in dataclasses.fields(self)}
        return {name: value for name, value in self.to_dict().items() if value != fields[name]}

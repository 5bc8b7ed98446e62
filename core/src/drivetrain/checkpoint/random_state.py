"""Random number generators: seeding, keeping and restoring them."""

from __future__ import annotations

import logging
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from drivetrain.checkpoint.layout import random_state_name
from drivetrain.checkpoint.tensors import load_tensors

if TYPE_CHECKING:
    from drivetrain.arguments import TrainingArguments

logger = logging.getLogger(__name__)


def set_seed(seed: int) -> None:
    """Seed Python, NumPy and PyTorch on every device."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def capture_random_state() -> dict[str, Any]:
    """The states of all generators of this process, as ``rng_state.pth`` has them."""
    states: dict[str, Any] = {
        "python": random.getstate(),
        "numpy": np.random.get_state(),
        "cpu": torch.random.get_rng_state(),
    }
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def restore_random_state(checkpoint: Path, args: TrainingArguments) -> None:
    """Set all generators of this process to what they were when a checkpoint was saved."""
    file = checkpoint / random_state_name(args.process_index, args.world_size)
    if not file.is_file():
        logger.warning(
            "%s has no %s: random numbers (dropout, say) go on otherwise than in an uninterrupted run.",
            checkpoint,
            file.name,
        )
        return
    states = load_tensors(file)
    version, internal, gauss = states["python"]
    random.setstate((version, tuple(internal), gauss))
    np.random.set_state(states["numpy"])
    torch.random.set_rng_state(states["cpu"])
    if "cuda" in states and torch.cuda.is_available():
        _restore_cuda(states["cuda"])


def _restore_cuda(state: Any) -> None:
    if isinstance(state, (list, tuple)):  # saved by a process that drove several devices
        torch.cuda.set_rng_state_all(list(state)[: torch.cuda.device_count()])
    else:
        torch.cuda.set_rng_state(state)

"""Random number generators: seeding, keeping and restoring them."""

from __future__ import annotations

import logging
import os
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from drivetrain.checkpoint.layout import random_state_name

if TYPE_CHECKING:
    from drivetrain.arguments import TrainingArguments

logger = logging.getLogger(__name__)


def set_seed(seed: int) -> None:
    """Seed Python, NumPy and PyTorch on every device."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def enable_full_determinism(seed: int, warn_only: bool = False) -> None:
    """Seed everything, and let torch use deterministic algorithms only, for the rest of the process.

    What else libraries read from the environment (``CUBLAS_WORKSPACE_CONFIG``, and what flash attention
    asks for) is set where it is not set yet. cuBLAS reads it when it is first used: call this before.

    Args:
        seed: The seed, as for `set_seed`.
        warn_only: Warn of an operation that has no deterministic algorithm, instead of raising an error.
    """
    set_seed(seed)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    os.environ.setdefault("FLASH_ATTENTION_DETERMINISTIC", "1")
    torch.use_deterministic_algorithms(True, warn_only=warn_only)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False


def seed_by(args: TrainingArguments) -> None:
    """Seed as the arguments say: ``seed``, with deterministic algorithms for ``full_determinism``."""
    if args.full_determinism:
        enable_full_determinism(args.seed)
    else:
        set_seed(args.seed)


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


def read_random_state(checkpoint: Path, args: TrainingArguments) -> dict[str, Any] | None:
    """Read the states of this process's generators when a checkpoint was saved; None, and said, if not there.

    ``epoch_begin`` has the states at the beginning of the pass over the data, where the checkpoint says them.
    """
    file = checkpoint / random_state_name(args.process_index, args.world_size)
    if not file.is_file():
        logger.warning(
            "%s has no %s: random numbers (dropout, say) go on otherwise than in an uninterrupted run.",
            checkpoint,
            file.name,
        )
        return None
    from drivetrain.checkpoint.tensors import load_tensors  # which only runs that resume need

    states: dict[str, Any] = load_tensors(file)
    return states


def set_random_state(states: dict[str, Any]) -> None:
    """Set all generators of this process to what `capture_random_state` gave."""
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

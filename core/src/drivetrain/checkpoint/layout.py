"""Names of files and folders of checkpoints: those that transformers' Trainer uses, and the manifest."""

from __future__ import annotations

import re
from pathlib import Path

MODEL = "model.safetensors"
MODEL_INDEX = "model.safetensors.index.json"
MODEL_PICKLED = "pytorch_model.bin"
ADAPTERS = ("adapter_model.safetensors", "adapter_model.bin")
"""Weights of an adapter, as PEFT names them; of others than 'default' in a folder of their name."""
OPTIMIZER = "optimizer.pt"
SCHEDULER = "scheduler.pt"
SCALER = "scaler.pt"
STATE = "trainer_state.json"
ARGUMENTS = "training_args.json"
FOREIGN_ARGUMENTS = "training_args.bin"
"""The arguments as transformers' Trainer keeps them: a pickle, which is never read."""
RANDOM_STATE = "rng_state.pth"
GRADIENTS = "gradients.pt"
TRAINING_WEIGHTS = "training_weights.pt"
"""The weights to train, of an optimizer that means others to be used: those are the model's."""
SHARDS = "distributed"
"""The folder with model and optimizer as several processes write them together."""
PROGRESS = "progress.json"
MANIFEST = "manifest.json"

_CHECKPOINT = re.compile(r"checkpoint-(\d+)")
STAGING_PREFIX = ".saving-"
"""What the name of a folder begins with that is not a checkpoint yet; no reader takes it for one."""
DELETING_PREFIX = ".deleting-"
"""The same for one that is no checkpoint any more."""
REPLACED_PREFIX = ".replaced-"
"""The same for one whose name is just being given to a newer one."""


def checkpoint_name(step: int) -> str:
    """The folder of the checkpoint of an update."""
    return f"checkpoint-{step}"


def step_of(checkpoint: Path) -> int | None:
    """The update that a folder is the checkpoint of; None if it is none."""
    match = _CHECKPOINT.fullmatch(checkpoint.name)
    return int(match[1]) if match else None


def list_checkpoints(output_dir: Path) -> list[Path]:
    """The checkpoints in a folder, oldest update first."""
    if not output_dir.is_dir():
        return []
    steps = {path: step_of(path) for path in output_dir.iterdir() if path.is_dir()}
    return sorted(
        (path for path, step in steps.items() if step is not None), key=lambda p: steps[p] or 0
    )


def get_last_checkpoint(folder: str | Path) -> str | None:
    """The checkpoint of the latest update in a folder; None if there is none. It need not be whole."""
    from drivetrain.checkpoint.writing import restore_replaced

    restore_replaced(Path(folder))
    checkpoints = list_checkpoints(Path(folder))
    return str(checkpoints[-1]) if checkpoints else None


def random_state_name(rank: int, world_size: int) -> str:
    """The file with a process's random state."""
    return RANDOM_STATE if world_size == 1 else f"rng_state_{rank}.pth"


def position_name(rank: int, world_size: int) -> str:
    """The file that says where a process is in data that keeps that itself."""
    return "dataloader.pt" if world_size == 1 else f"dataloader_{rank}.pt"

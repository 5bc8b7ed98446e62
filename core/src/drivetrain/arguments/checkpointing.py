"""Arguments of checkpoints."""

from __future__ import annotations

from dataclasses import dataclass

from drivetrain.arguments.choices import SaveStrategy
from drivetrain.arguments.fields import argument, argument_factory


@dataclass(init=False, repr=False, eq=False)
class CheckpointArguments:
    """What of a run is kept on disk."""

    save_strategy: SaveStrategy | str = argument(
        "steps",
        "When to save: 'no', 'steps' (every `save_steps`, and at the end), 'epoch', or 'best' "
        "(whenever an evaluation gives a new best metric).",
    )
    save_steps: float = argument(500, "Updates between two saves; below 1, a share of all updates.")
    save_total_limit: int | None = argument(
        None, "Checkpoints to keep; older ones are deleted, the best one never is."
    )
    save_only_model: bool = argument(
        False,
        "Save the model alone. Training resumes from such a checkpoint with `allow_partial_resume` only.",
    )
    save_safetensors: bool = argument(
        True,
        "Save weights as safetensors. If not: with torch.save, which is read without unpickling, too.",
    )
    save_on_each_node: bool = argument(
        False, "Save on the first process of each machine, not on the very first only."
    )
    restore_callback_states_from_checkpoint: bool = argument(
        False, "Give callbacks the state that a checkpoint holds of them when a run resumes from it."
    )
    low_cpu_mem_usage: bool = argument(
        True,
        "Map a checkpoint's weights into memory. If not: read them, for disks that cannot be mapped.",
    )
    load_best_model_at_end: bool = argument(
        False, "Load the best model when training ends. Its checkpoint is kept."
    )
    async_save: bool = argument(
        False,
        "Write checkpoints in the background: training waits for a copy of the state to host memory, and "
        "for the checkpoint before if that is still being written.",
    )
    save_on_error: str = argument(
        "stop_at_second",
        "When a checkpoint cannot be written (a full disk, say): 'stop' training at once, 'stop_at_second' "
        "if the next one fails, too, or 'continue' whatever happens.",
        choices=("stop_at_second", "stop", "continue"),
    )
    allow_partial_resume: bool = argument(
        False,
        "Resume from a checkpoint that lacks parts, such as the model alone; what starts afresh is said.",
    )
    preemption_signals: list[str] | str = argument_factory(
        lambda: ["SIGTERM", "SIGUSR1"],
        "Signals at which the running update is finished, a checkpoint is written (whatever `save_strategy` "
        "says) and the process ends with exit code 75; 'none' for no signal.",
    )

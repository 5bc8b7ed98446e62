"""Arguments of several processes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from drivetrain.arguments.accelerator import AcceleratorConfig
from drivetrain.arguments.fields import argument

DDP_BACKENDS = ("nccl", "mpi", "ccl", "gloo", "hccl", "cncl", "mccl")


@dataclass(init=False, repr=False, eq=False)
class DistributedArguments:
    """How processes work together."""

    strategy: str = argument(
        "auto",
        "The strategy by name. 'auto': 'deepspeed' or 'fsdp' if that argument is set, 'ddp' if a launcher "
        "started several processes, else 'single'.",
    )
    local_rank: int = argument(-1, "This process among those on its machine, as its launcher says.")
    ddp_backend: str | None = argument(
        None, "What processes talk through. By default: what suits the device.", choices=DDP_BACKENDS
    )
    ddp_find_unused_parameters: bool | None = argument(
        None,
        "Look for parameters without a gradient at each step. By default: unless activations are "
        "checkpointed.",
    )
    ddp_bucket_cap_mb: int | None = argument(None, "Megabytes of gradients that are sent together.")
    ddp_broadcast_buffers: bool | None = argument(
        None, "Send the first process's buffers to all. By default: unless activations are checkpointed."
    )
    ddp_gradient_as_bucket_view: bool | None = argument(
        None, "Keep gradients in the buffers that they are sent from, which saves a copy."
    )
    ddp_timeout: int = argument(1800, "Seconds that a process waits for the others.")
    fsdp: bool | str | list[str] = argument(
        "",
        "Shard parameters, gradients and optimizer over processes: 'full_shard', 'shard_grad_op', "
        "'hybrid_shard', 'hybrid_shard_zero2', with 'offload' and 'auto_wrap'; True is 'full_shard'.",
    )
    fsdp_config: dict[str, Any] | str | None = argument(
        None, "Settings of FSDP: a dict, or the path of a JSON file."
    )
    deepspeed: dict[str, Any] | str | None = argument(
        None, "Settings of DeepSpeed, which is used then: a dict, or the path of a JSON file."
    )
    accelerator_config: AcceleratorConfig | dict[str, Any] | str | None = argument(
        None, "How data is split between processes: an `AcceleratorConfig`, a dict, or a JSON file."
    )

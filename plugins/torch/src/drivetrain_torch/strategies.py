"""The strategy `single`: one process, one device."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import cached_property

import torch

from drivetrain.plugin import StrategyPlugin


class SingleDevice(StrategyPlugin):
    """Trains in one process: on the first accelerator that torch can use, else on the CPU."""

    unused_arguments = (
        "average_tokens_across_devices",
        "ddp_backend",
        "ddp_broadcast_buffers",
        "ddp_bucket_cap_mb",
        "ddp_find_unused_parameters",
        "ddp_gradient_as_bucket_view",
        "ddp_timeout",
        "eval_use_gather_object",
        "local_rank",
        "log_level_replica",
        "log_on_each_node",
        "save_on_each_node",
    )

    @cached_property
    def device(self) -> torch.device:
        """The first GPU (CUDA, ROCm, Apple or Intel) or NPU; the CPU if there is none or `use_cpu` is set."""
        if self.args.use_cpu:
            return torch.device("cpu")
        if torch.cuda.is_available():
            return torch.device("cuda", 0)
        if torch.backends.mps.is_available():
            return torch.device("mps")
        if torch.xpu.is_available():
            return torch.device("xpu", 0)
        found = torch.accelerator.current_accelerator() if hasattr(torch, "accelerator") else None
        return torch.device("cpu") if found is None else torch.device(found.type, 0)

    def problems(self) -> Iterable[str]:
        """Refuse several processes, each of which would train a model of its own."""
        num_processes = _launched_processes()
        if num_processes > 1:
            yield (
                f"`strategy`: {self.name!r} trains one copy of the model in each process, none knowing of "
                f"the others, and the launcher started {num_processes} (WORLD_SIZE={num_processes}). "
                "Start one process (python script.py), or type strategy='auto' to train one model "
                "in all of them."
            )

    def warnings(self) -> Iterable[str]:
        """Say what is for several processes only, and that the other GPUs stay idle."""
        yield from super().warnings()
        config = self.args.accelerator_config.changed()  # type: ignore[union-attr]
        for key in ("split_batches", "dispatch_batches", "even_batches", "use_configured_state"):
            if key in config:
                yield (
                    f"`accelerator_config`: {key}={config[key]!r} has no effect with "
                    f"`strategy`={self.name!r}, "
                    "which has one process."
                )
        if self.device.type == "cuda" and torch.cuda.device_count() > 1:
            num_devices = torch.cuda.device_count()
            yield (
                f"`strategy`: {self.name!r} uses {self.device} alone, and {num_devices} GPUs are visible. "
                "Training on several takes another strategy (`drivetrain plugins` lists those that are "
                "installed). To say that one GPU is meant, set CUDA_VISIBLE_DEVICES=0."
            )


def _launched_processes() -> int:
    """How many processes a launcher started, as far as the environment says."""
    world_size = os.environ.get("WORLD_SIZE", "")
    return int(world_size) if world_size.isdecimal() else 1

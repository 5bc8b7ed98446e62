"""A strategy that shards a model over processes on the CPU, for tests of checkpoints."""

from __future__ import annotations

import os
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from drivetrain.plugin import StrategyPlugin


class FullyShard(StrategyPlugin):
    """Every process trains on the same batches, and has a part of each parameter."""

    def __init__(self, args: Any, options: Any = None) -> None:
        super().__init__(args, options)
        if not dist.is_initialized():
            dist.init_process_group("gloo")

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    @property
    def world_size(self) -> int:
        return int(os.environ["WORLD_SIZE"])

    @property
    def rank(self) -> int:
        return int(os.environ["RANK"])

    @property
    def local_rank(self) -> int:
        return self.rank

    def wait(self) -> None:
        dist.barrier()

    def gather(self, value: Any) -> list[Any]:
        values: list[Any] = [None] * self.world_size
        dist.all_gather_object(values, value)
        return values

    def place_model(self, model: nn.Module) -> nn.Module:
        from torch.distributed.fsdp import fully_shard

        return fully_shard(model)

    def clip_gradients(self, parameters: Any, max_norm: float) -> torch.Tensor:
        norm: Any = nn.utils.clip_grad_norm_(parameters, max_norm)
        return norm.full_tensor()

"""Rows of the arguments of several processes. Of one process: which of them have no effect is said."""

from __future__ import annotations

from datetime import timedelta

import torch

from honesty.observations import order
from honesty.processes import SECOND_MACHINE
from honesty.table import Case, Row, refused, row, seen, warned


def for_several(name: str, value: object) -> Row:
    """A row: an argument that the strategy of one process says it has no use for."""
    return warned(name, value, "has no effect with `strategy`='single', which does not use it.")


@row("ddp_timeout", 60)
def ddp_timeout(case: Case) -> None:
    args = case.changed(strategy=SECOND_MACHINE).args
    assert args.ddp_timeout_delta == timedelta(minutes=1)
    assert "has no effect with `strategy`='single'" in case.warnings(**case.setting)[0]


def drawn_one_after_the_other() -> list[int]:
    """The orders of two epochs, out of one generator."""
    generator = torch.Generator().manual_seed(42)
    return [int(i) for _ in range(2) for i in torch.randperm(24, generator=generator)]


@row("accelerator_config", {"use_seedable_sampler": False}, num_train_epochs=2)
def accelerator_config(case: Case) -> None:
    assert order(case.plain()) != drawn_one_after_the_other()
    assert order(case.changed()) == drawn_one_after_the_other()


ROWS = [
    seen("strategy", SECOND_MACHINE, lambda trainer: trainer.args.world_size, 1, 4),
    for_several("local_rank", 0),
    for_several("ddp_backend", "gloo"),
    for_several("ddp_find_unused_parameters", True),
    for_several("ddp_bucket_cap_mb", 10),
    for_several("ddp_broadcast_buffers", False),
    for_several("ddp_gradient_as_bucket_view", True),
    ddp_timeout,
    refused("fsdp", "full_shard offload", "'fsdp' is not installed"),
    warned("fsdp_config", {"min_num_params": 2000}, "has no effect without `fsdp`"),
    refused("deepspeed", {"zero_optimization": {"stage": 2}}, "'deepspeed' is not installed"),
    accelerator_config,
]

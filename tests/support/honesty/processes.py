"""Strategies of processes that are not alone, for what an argument says of them."""

from __future__ import annotations

import torch

from drivetrain.plugin import StrategyPlugin


class SecondMachine(StrategyPlugin):
    """Process 2 of 4 on two machines: the first on the second one."""

    world_size = 4
    rank = 2
    local_rank = 0

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")


class SecondOfMachine(SecondMachine):
    """Process 1 of 4 on two machines: the second on the first one."""

    rank = 1
    local_rank = 1


SECOND_MACHINE = "honesty.processes.SecondMachine"
SECOND_OF_MACHINE = "honesty.processes.SecondOfMachine"

"""What arguments say of this process: its device, its rank, whether it logs and saves."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from drivetrain.arguments.choices import ParallelMode
from drivetrain.parts import load_strategy

if TYPE_CHECKING:
    import torch

    from drivetrain.arguments.composed import TrainingArguments
    from drivetrain.plugin.strategy import StrategyPlugin

logger = logging.getLogger(__name__)


class Processes:
    """This process among those of the run, as the strategy sees it."""

    log_level: str
    log_level_replica: str
    log_on_each_node: bool
    save_on_each_node: bool
    ddp_timeout: int

    @cached_property
    def strategy_plugin(self) -> StrategyPlugin:
        """The strategy, made on first use: it is the one part that outlives a trainer."""
        return load_strategy(cast("TrainingArguments", self))

    @property
    def device(self) -> torch.device:
        """The device of this process."""
        return self.strategy_plugin.device

    @property
    def n_gpu(self) -> int:
        """GPUs that this process drives: 1, or 0 on the CPU."""
        return int(self.device.type != "cpu")

    @property
    def world_size(self) -> int:
        """Processes that take part."""
        return self.strategy_plugin.world_size

    @property
    def process_index(self) -> int:
        """This process among all, from 0."""
        return self.strategy_plugin.rank

    @property
    def local_process_index(self) -> int:
        """This process among those on its machine, from 0."""
        return self.strategy_plugin.local_rank

    @property
    def parallel_mode(self) -> ParallelMode:
        """Whether the run has several processes."""
        return ParallelMode.DISTRIBUTED if self.world_size > 1 else ParallelMode.NOT_PARALLEL

    @property
    def ddp_timeout_delta(self) -> timedelta:
        """How long a process waits for the others."""
        return timedelta(seconds=self.ddp_timeout)

    @property
    def place_model_on_device(self) -> bool:
        """Whether the trainer moves the model to the device. A subclass may say no."""
        return True

    @property
    def should_log(self) -> bool:
        """Whether this process logs with `log_level`: the first of each machine, or the very first."""
        first = self.local_process_index if self.log_on_each_node else self.process_index
        return first == 0

    @property
    def should_save(self) -> bool:
        """Whether this process writes to disk: the very first, or the first of each machine."""
        first = self.local_process_index if self.save_on_each_node else self.process_index
        return first == 0

    def get_process_log_level(self) -> int:
        """The log level of this process: `log_level` or `log_level_replica`; see `should_log`.

        'passive' is the level that drivetrain's loggers have anyway on processes that log, WARNING if
        nobody set one, and WARNING on the others.
        """
        name = self.log_level if self.should_log else self.log_level_replica
        if name == "passive":
            return (
                logging.getLogger("drivetrain").getEffectiveLevel()
                if self.should_log
                else logging.WARNING
            )
        return int(getattr(logging, "DEBUG" if name == "detail" else name.upper()))

    @contextmanager
    def main_process_first(self, local: bool = True, desc: str = "work") -> Iterator[None]:
        """Let the first process do something before the others: they wait, and find it done (cached).

        Args:
            local: The first of each machine goes first; if not, the very first of all.
            desc: What is done, for the log.
        """
        rank = self.local_process_index if local else self.process_index
        if self.world_size > 1 and rank != 0:
            logger.debug("Process %d waits for the first to do: %s.", self.process_index, desc)
            self.strategy_plugin.wait()
        try:
            yield
        finally:
            if self.world_size > 1 and rank == 0:
                logger.debug("Process %d has done: %s.", self.process_index, desc)
                self.strategy_plugin.wait()

    def __getstate__(self) -> dict[str, Any]:
        """The strategy belongs to its process: it is made again where the arguments arrive."""
        return {name: value for name, value in vars(self).items() if name != "strategy_plugin"}

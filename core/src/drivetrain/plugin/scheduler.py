"""The base class of learning-rate schedule plugins."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

from drivetrain.plugin.part import Plugin

if TYPE_CHECKING:
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler


class SchedulerPlugin(Plugin):
    """Makes the learning-rate schedule of a run.

    A whole plugin, for the entry-point group ``drivetrain.schedulers``::

        class HalfTime(SchedulerPlugin):
            def create(self, optimizer, num_warmup_steps, num_training_steps):
                return StepLR(optimizer, step_size=max(1, num_training_steps // 2), gamma=0.5)

    Attributes:
        steps_on_metric: The schedule wants the metric of each evaluation (`ReduceLROnPlateau`)
            instead of a call after each update.
        warms_up: It raises the rate as `warmup_steps` says. If neither it nor the optimizer does, that
            argument is one without a use.
    """

    steps_on_metric: ClassVar[bool] = False
    warms_up: ClassVar[bool] = True

    @abstractmethod
    def create(
        self, optimizer: Optimizer, num_warmup_steps: int, num_training_steps: int
    ) -> LRScheduler:
        """Return a schedule over ``num_training_steps`` updates, the warm-up included.

        Args:
            optimizer: The optimizer whose groups' ``lr`` it drives.
            num_warmup_steps: Updates at the start during which the rate rises.
            num_training_steps: Updates of the whole run.
        """
        raise NotImplementedError

"""Windows of micro-batches: one window an update."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from drivetrain.signatures import accepted

if TYPE_CHECKING:
    from drivetrain.loop.plan import LoopPlan
    from drivetrain.losses import LossShare
    from drivetrain.trainer import Trainer


class Window(NamedTuple):
    """The micro-batches of one update.

    Attributes:
        batches: The micro-batches, in order.
        num_items: What the losses of the window are divided by where the model takes that over from
            the trainer: labels that count, in all of its micro-batches. None: not counted.
        shares: What each micro-batch's loss counts for, where the trainer divides losses. None: not known.
        is_cut_short: The data ran dry before the window was full. There is no update then, as in the
            published trainer: the gradients stay, and are part of the next one.
    """

    batches: list[Any]
    num_items: Any
    shares: list[LossShare] | None
    is_cut_short: bool

    def share_of(self, index: int) -> LossShare | None:
        """What the loss of one micro-batch counts for, if that is known."""
        return self.shares[index] if self.shares else None


def windows_of_epoch(
    trainer: Trainer, plan: LoopPlan, batches: Iterator[Any], start_batch: int
) -> Iterator[Window]:
    """The windows of a pass from a batch on; fewer than planned if the data runs dry."""
    device = accepted(trainer.get_batch_samples, device=trainer.args.device)
    for start in range(start_batch, plan.batches_per_epoch, plan.accumulation):
        wanted = plan.batches_at(start)
        collected, num_items = trainer.get_batch_samples(batches, wanted, **device)
        if not collected:
            return
        # The data's last window may be planned smaller; short of its own plan it has run dry.
        is_cut_short = len(collected) < wanted
        yield Window(collected, num_items, trainer.loss_shares(collected), is_cut_short)


def collect_batches(batches: Iterator[Any], num_batches: int) -> list[Any]:
    """The next batches of an iterator, fewer if there are no more."""
    return list(itertools.islice(batches, num_batches))

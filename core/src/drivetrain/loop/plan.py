"""The arithmetic of a run, done before it starts."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from drivetrain.data.lengths import length_of
from drivetrain.data.loaders import num_samples_of
from drivetrain_registry import UsageError

if TYPE_CHECKING:
    from drivetrain.arguments import TrainingArguments


@dataclass(frozen=True)
class LoopPlan:
    """How long a run is, and where it starts.

    Attributes:
        num_epochs: Passes over the data, the last perhaps in part.
        batches_per_epoch: Micro-batches in a pass; an upper bound if the data has no length.
        updates_per_epoch: Updates in a pass.
        accumulation: Micro-batches an update.
        max_steps: Updates in the run.
        num_examples: Samples in the data set.
        num_train_samples: Samples in the run, repetitions counted.
        total_batch_size: Samples an update, over all processes.
        start_step: Updates done before, by the run that is resumed.
    """

    num_epochs: int
    batches_per_epoch: int
    updates_per_epoch: int
    accumulation: int
    max_steps: int
    num_examples: int
    num_train_samples: float
    total_batch_size: int
    start_step: int = 0

    @property
    def start_epoch(self) -> int:
        """The pass that the run starts in."""
        return self.start_step // self.updates_per_epoch

    @property
    def start_update(self) -> int:
        """The update within that pass."""
        return self.start_step % self.updates_per_epoch

    def batches_in(self, update: int) -> int:
        """Micro-batches in an update of a pass: fewer in the last if the numbers do not divide."""
        return min(self.accumulation, self.batches_per_epoch - update * self.accumulation)


def make_plan(args: TrainingArguments, loader: Any, start_step: int = 0) -> LoopPlan:
    """Plan a run over what a loader gives.

    Raises:
        UsageError: The loader has no length, and ``max_steps`` is not set; or there is no data.
    """
    accumulation = args.gradient_accumulation_steps
    total_batch_size = args.train_batch_size * accumulation * args.world_size
    num_batches = length_of(loader)
    if num_batches == 0:
        raise UsageError(
            "`train_dataset`: it gives no batch. It is empty, or smaller than a batch while "
            "`dataloader_drop_last` is True."
        )
    if num_batches is None:
        return _plan_without_length(args, total_batch_size, start_step)
    updates_per_epoch = math.ceil(num_batches / accumulation)
    num_examples = num_samples_of(loader) or num_batches * args.train_batch_size
    if args.max_steps > 0:
        max_steps = args.max_steps
        num_epochs = math.ceil(max_steps / updates_per_epoch)
        num_train_samples: float = max_steps * total_batch_size
    else:
        max_steps = math.ceil(args.num_train_epochs * updates_per_epoch)
        num_epochs = math.ceil(args.num_train_epochs)
        num_train_samples = num_examples * args.num_train_epochs
    return LoopPlan(
        num_epochs=num_epochs,
        batches_per_epoch=num_batches,
        updates_per_epoch=updates_per_epoch,
        accumulation=accumulation,
        max_steps=max_steps,
        num_examples=num_examples,
        num_train_samples=num_train_samples,
        total_batch_size=total_batch_size,
        start_step=start_step,
    )


def _plan_without_length(args: TrainingArguments, total_batch_size: int, start_step: int) -> LoopPlan:
    if args.max_steps <= 0:
        raise UsageError(
            f"`max_steps`: {args.max_steps} with a `train_dataset` that has no length, so that the end of "
            f"{args.num_train_epochs} epochs cannot be known. Type max_steps=1000, say."
        )
    return LoopPlan(
        num_epochs=sys.maxsize,  # as many passes as it takes
        batches_per_epoch=args.max_steps * args.gradient_accumulation_steps,
        updates_per_epoch=args.max_steps,
        accumulation=args.gradient_accumulation_steps,
        max_steps=args.max_steps,
        num_examples=args.max_steps * total_batch_size,
        num_train_samples=args.max_steps * total_batch_size,
        total_batch_size=total_batch_size,
        start_step=start_step,
    )

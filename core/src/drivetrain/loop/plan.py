"""The arithmetic of a run, done before it starts."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from drivetrain.data.lengths import length_of
from drivetrain_registry import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from drivetrain.arguments import TrainingArguments
    from drivetrain.state import TrainerState
    from drivetrain.trainer import Trainer


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
        begins_epoch_anew: A run that is resumed within a pass begins that pass anew.
        stream_start: The pass that a resumed run starts in, and the update within it, where the data has
            no length; how long its passes are only the run before knew.
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
    begins_epoch_anew: bool = False
    stream_start: tuple[int, int] | None = None

    @property
    def start_epoch(self) -> int:
        """The pass that the run starts in."""
        if self.stream_start is not None:
            return self.stream_start[0]
        return self.start_step // self.updates_per_epoch

    @property
    def start_update(self) -> int:
        """The update within that pass."""
        if self.begins_epoch_anew:
            return 0
        if self.stream_start is not None:
            return self.stream_start[1]
        return self.start_step % self.updates_per_epoch

    def batches_in(self, update: int) -> int:
        """Micro-batches in an update of a pass: fewer in the last if the numbers do not divide."""
        return min(self.accumulation, self.batches_per_epoch - update * self.accumulation)


class InitialValues(NamedTuple):
    """How long a run is, in the published order of `Trainer.set_initial_training_values`.

    Attributes:
        num_train_epochs: Passes over the data, the last perhaps in part.
        num_update_steps_per_epoch: Updates in a pass.
        num_examples: Samples in the data set.
        num_train_samples: Samples in the run, repetitions counted.
        epoch_based: The run is measured in epochs, not in updates.
        len_dataloader: Micro-batches in a pass; None if that is not known.
        max_steps: Updates in the run.
    """

    num_train_epochs: int
    num_update_steps_per_epoch: int
    num_examples: int
    num_train_samples: float
    epoch_based: bool
    len_dataloader: int | None
    max_steps: int


def make_plan(trainer: Trainer, loader: Any, start_step: int = 0) -> LoopPlan:
    """Plan a run over what a loader gives, by the numbers of `Trainer.set_initial_training_values`."""
    args = trainer.args
    total_batch_size = trainer.get_total_train_batch_size(args)
    values = InitialValues(*trainer.set_initial_training_values(args, loader, total_batch_size))
    accumulation = args.gradient_accumulation_steps
    num_batches = values.len_dataloader
    return LoopPlan(
        num_epochs=values.num_train_epochs,
        batches_per_epoch=values.max_steps * accumulation if num_batches is None else num_batches,
        updates_per_epoch=values.num_update_steps_per_epoch,
        accumulation=accumulation,
        max_steps=values.max_steps,
        num_examples=values.num_examples,
        num_train_samples=values.num_train_samples,
        total_batch_size=total_batch_size,
        start_step=start_step,
        begins_epoch_anew=args.ignore_data_skip,
        stream_start=_stream_start(trainer.state) if num_batches is None and start_step > 0 else None,
    )


def _stream_start(state: TrainerState) -> tuple[int, int]:
    """Where the epoch of a checkpoint is in a stream, whose passes were counted as ``max_steps`` updates."""
    done, share = divmod(state.epoch or 0.0, 1)
    return int(done), round(share * state.max_steps)


def initial_values(
    args: TrainingArguments, loader: Any, total_batch_size: int, num_examples: Callable[[], int]
) -> InitialValues:
    """How long a run over a loader is.

    Args:
        args: The arguments.
        loader: The training batches.
        total_batch_size: Samples an update.
        num_examples: Counts the samples in the data set of a loader that has a length.

    Raises:
        UsageError: The loader has no length, and ``max_steps`` is not set; or there is no data.
    """
    num_batches = length_of(loader)
    if num_batches is None:
        return _values_without_length(args, total_batch_size)
    if num_batches == 0:
        raise UsageError(
            "`train_dataset`: it gives no batch. It is empty, or smaller than a batch while "
            "`dataloader_drop_last` is True."
        )
    updates_per_epoch = math.ceil(num_batches / args.gradient_accumulation_steps)
    samples, epoch_based = num_examples(), args.max_steps <= 0
    if epoch_based:
        max_steps = math.ceil(args.num_train_epochs * updates_per_epoch)
        num_epochs = math.ceil(args.num_train_epochs)
        num_train_samples = samples * args.num_train_epochs
    else:
        max_steps = args.max_steps
        num_epochs = math.ceil(max_steps / updates_per_epoch)
        num_train_samples = float(max_steps * total_batch_size)
    return InitialValues(
        num_epochs, updates_per_epoch, samples, num_train_samples, epoch_based, num_batches, max_steps
    )


def _values_without_length(args: TrainingArguments, total_batch_size: int) -> InitialValues:
    max_steps = args.max_steps
    if max_steps <= 0:
        raise UsageError(
            f"`max_steps`: {max_steps} with a `train_dataset` that has no length, so that the end of "
            f"{args.num_train_epochs} epochs cannot be known. Type max_steps=1000, say."
        )
    samples = max_steps * total_batch_size
    # As many passes as it takes.
    return InitialValues(sys.maxsize, max_steps, samples, samples, False, None, max_steps)

"""The arithmetic of a run, done before it starts."""

from __future__ import annotations

import dataclasses
import math
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from drivetrain.data.lengths import length_of
from drivetrain.data.loaders import can_enter, num_batches_from
from drivetrain_registry import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from drivetrain.arguments import TrainingArguments
    from drivetrain.checkpoint.progress import Progress
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
        start_epoch: The pass that the run starts in.
        start_update: The update within that pass; past its last one if only what comes at its end is left.
        start_batch: The micro-batch within that pass.
        start_sample: The sample of this process within that pass, where its updates had another size and
            the data can be entered there.
        is_resized: Updates have another size than some of those before.
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
    start_epoch: int = 0
    start_update: int = 0
    start_batch: int = 0
    start_sample: int | None = None
    is_resized: bool = False

    def batches_at(self, start: int) -> int:
        """Micro-batches in the update that begins with that of a pass: fewer in the last if need be."""
        return min(self.accumulation, self.batches_per_epoch - start)


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


def make_plan(
    trainer: Trainer, loader: Any, start_step: int = 0, progress: Progress | None = None
) -> LoopPlan:
    """Plan a run over what a loader gives, by the numbers of `Trainer.set_initial_training_values`.

    Args:
        trainer: The trainer.
        loader: The training batches.
        start_step: Updates that the run that is resumed did.
        progress: How far it was within its pass, if its checkpoint says that.
    """
    args = trainer.args
    total_batch_size = trainer.get_total_train_batch_size(args)
    values = InitialValues(*trainer.set_initial_training_values(args, loader, total_batch_size))
    accumulation = args.gradient_accumulation_steps
    num_batches = values.len_dataloader
    plan = LoopPlan(
        num_epochs=values.num_train_epochs,
        batches_per_epoch=values.max_steps * accumulation if num_batches is None else num_batches,
        updates_per_epoch=values.num_update_steps_per_epoch,
        accumulation=accumulation,
        max_steps=values.max_steps,
        num_examples=values.num_examples,
        num_train_samples=values.num_train_samples,
        total_batch_size=total_batch_size,
        start_step=start_step,
    )
    if start_step == 0 and progress is None:
        return plan
    epoch, update = _start(plan, trainer.state, progress, is_stream=num_batches is None)
    if args.ignore_data_skip and update < plan.updates_per_epoch and start_step < plan.max_steps:
        update = 0
    batch = min(update * accumulation, plan.batches_per_epoch)
    plan = dataclasses.replace(plan, start_epoch=epoch, start_update=update, start_batch=batch)
    if progress is None or num_batches is None or not _is_resized(progress, total_batch_size):
        return plan
    is_within = not (progress.is_epoch_over or progress.is_epoch_left or args.ignore_data_skip)
    if is_within and can_enter(loader):
        plan = _enter_at(plan, loader, progress.samples // args.world_size)
    return _resize(plan, args.num_train_epochs if values.epoch_based else None)


def _start(
    plan: LoopPlan, state: TrainerState, progress: Progress | None, is_stream: bool
) -> tuple[int, int]:
    """The pass that a resumed run starts in, and the update within it."""
    if progress is None and is_stream:  # passes of unknown length were counted as `max_steps` updates
        done, share = divmod(state.epoch or 0.0, 1)
        return int(done), round(share * state.max_steps)
    if progress is None:
        return divmod(plan.start_step, plan.updates_per_epoch)
    if progress.is_epoch_over:
        return progress.epoch + 1, 0
    if progress.is_epoch_left:
        return progress.epoch, plan.updates_per_epoch
    if not _is_resized(progress, plan.total_batch_size):
        return progress.epoch, min(progress.updates, plan.updates_per_epoch)
    return progress.epoch, min(progress.samples // plan.total_batch_size, plan.updates_per_epoch)


def _is_resized(progress: Progress, total_batch_size: int) -> bool:
    """Whether updates have another size than some of those before."""
    return progress.is_resized or progress.samples_per_update not in (0, total_batch_size)


def _enter_at(plan: LoopPlan, loader: Any, sample: int) -> LoopPlan:
    """The plan of a run that starts at a sample, wherever batches of the present size would begin."""
    left = num_batches_from(loader, sample)
    return dataclasses.replace(
        plan,
        start_update=plan.updates_per_epoch - math.ceil(left / plan.accumulation),
        start_batch=plan.batches_per_epoch - left,
        start_sample=sample,
    )


def _resize(plan: LoopPlan, num_train_epochs: float | None) -> LoopPlan:
    """The plan of a run whose updates have another size than before: as long as it was meant to be.

    Args:
        plan: The plan as if all updates had the size that they have now.
        num_train_epochs: How long the run is, if it is measured in passes.
    """
    max_steps = plan.max_steps
    if num_train_epochs is not None:
        all_updates = math.ceil(num_train_epochs * plan.updates_per_epoch)
        done = plan.start_epoch * plan.updates_per_epoch + plan.start_update
        max_steps = plan.start_step + max(all_updates - done, 0)
    last = plan.start_update + max_steps - plan.start_step
    num_epochs = plan.start_epoch + math.ceil(last / plan.updates_per_epoch)
    return dataclasses.replace(plan, max_steps=max_steps, num_epochs=num_epochs, is_resized=True)


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

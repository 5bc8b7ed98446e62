"""Loaders: from a data set and the arguments to batches, from any point of an epoch on."""

from __future__ import annotations

import collections
import itertools
import logging
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import DataLoader, IterableDataset, Sampler, SequentialSampler

from drivetrain.data.columns import ColumnFilter, argument_of
from drivetrain.data.epochs import EpochLoader, stateful_loader
from drivetrain.data.positions import begin_pass, keeps_position, why_read_again
from drivetrain.data.sample_lengths import find_lengths
from drivetrain.data.samplers import EpochSampler, LengthGroupedSampler, OneGeneratorSampler
from drivetrain.data.streams import can_be_entered, is_followable
from drivetrain_registry import UsageError

if TYPE_CHECKING:
    from drivetrain.arguments import TrainingArguments

logger = logging.getLogger(__name__)

TRAINING = "training"


def make_loader(
    dataset: Any,
    args: TrainingArguments,
    collator: Callable[[list[Any]], Any],
    column_filter: ColumnFilter | None,
    *,
    description: str,
    batch_size: int,
    sampler: Sampler[int] | None,
) -> DataLoader[Any]:
    """A PyTorch loader over a data set.

    Args:
        dataset: Map-style or iterable; with ``column_names`` its columns are removed up front, in
            other cases the keys of each sample.
        args: The arguments, for those named ``dataloader_...``.
        collator: From a list of samples to a batch.
        column_filter: What to leave out, or None.
        description: What the data is called in logs: ``"training"``, ``"evaluation"``, ``"test"``. Only
            training leaves out a smaller last batch: what is evaluated or predicted is every sample.
        batch_size: Samples a batch.
        sampler: The order; None for iterable data sets, which have one of their own.

    Raises:
        UsageError: The data set has neither samples by index nor is it an iterable data set; or no
            column of it is for the model.
    """
    _check_kind(dataset, description)
    if column_filter is not None:
        if hasattr(dataset, "remove_columns") and getattr(dataset, "column_names", None):
            dataset = column_filter.filter_dataset(dataset, description)
        else:
            collator = column_filter.wrap_collator(collator, description)
    cls = _loader_class(dataset, args) if description == TRAINING else EpochLoader
    return cls(
        dataset,
        seed=args.seed,
        order_seed=_order_seed(args),
        rank=args.process_index,
        batch_size=batch_size,
        sampler=None if is_iterable(dataset) else sampler,
        drop_last=args.dataloader_drop_last and description == TRAINING,
        collate_fn=collator,
        num_workers=args.dataloader_num_workers,
        pin_memory=args.dataloader_pin_memory and args.device.type == "cuda",
        persistent_workers=args.dataloader_persistent_workers and _can_persist(dataset, description),
        prefetch_factor=args.dataloader_prefetch_factor,
    )


def _loader_class(dataset: Any, args: TrainingArguments) -> type[EpochLoader]:
    """The loader for training data: one that keeps the states of its processes, where they have any."""
    if args.dataloader_num_workers == 0 or not is_followable(dataset) or not can_be_entered(dataset):
        return EpochLoader
    return stateful_loader() or EpochLoader


def is_iterable(dataset: Any) -> bool:
    """Whether a data set has no samples by index, only a stream of them."""
    return isinstance(dataset, IterableDataset)


def train_sampler(
    dataset: Any,
    args: TrainingArguments,
    processing_class: Any = None,
    batch_size: int | None = None,
) -> Sampler[int] | None:
    """The random order of training; None for a data set without a length.

    Args:
        dataset: The training data.
        args: The arguments.
        processing_class: A tokenizer or similar, whose ``model_input_names`` say which key is measured
            to group samples by length.
        batch_size: Samples in a micro-batch of this process; by default those of the arguments.

    Raises:
        UsageError: Samples are to be grouped by length, and have none or no order to choose.
    """
    if is_iterable(dataset) or not hasattr(dataset, "__len__"):
        if args.group_by_length:
            raise UsageError(
                f"`group_by_length`: `train_dataset` is a stream ({type(dataset).__name__}), whose samples "
                "come in an order of their own. Leave out group_by_length, or pass a data set with a length "
                "and samples by index."
            )
        return None
    if args.group_by_length:
        names = getattr(processing_class, "model_input_names", None) or ["input_ids"]
        lengths = find_lengths(dataset, args.length_column_name, names[0], not args.disable_tqdm)
        update_size = (
            (batch_size or args.train_batch_size) * args.gradient_accumulation_steps * args.world_size
        )
        return LengthGroupedSampler(lengths, update_size, _order_seed(args))
    config: Any = args.accelerator_config
    sampler = EpochSampler if config.use_seedable_sampler else OneGeneratorSampler
    return sampler(dataset, _order_seed(args))


def eval_sampler(dataset: Any) -> Sampler[int] | None:
    """The order of evaluation: that of the data set, so that predictions are in it, too."""
    return None if is_iterable(dataset) else SequentialSampler(dataset)


def iterate_epoch(
    loader: Iterable[Any],
    epoch: int,
    start: int = 0,
    position: dict[str, Any] | None = None,
    show_progress: bool = False,
    start_sample: int | None = None,
) -> Iterator[Any]:
    """The batches of an epoch from batch ``start`` on.

    The batches before are not read where the data is entered by its ``position``, or where the order of
    its indices can be entered anywhere (`EpochSampler`). Otherwise they are read and thrown away.

    Args:
        loader: The batches of all epochs.
        epoch: The epoch.
        start: The first batch that is wanted.
        position: Where `drivetrain.data.positions.position_of` said that the run to go on with was: in
            this epoch, or with ``start`` 0 at the end of the last.
        show_progress: Show a bar while batches are read again.
        start_sample: The sample of its order where a pass begins whose first ``start`` batches had another
            size, in a loader that `can_enter` there.
    """
    members = (getattr(loader, name, None) for name in ("sampler", "batch_sampler", "dataset"))
    for thing in (loader, *members):
        set_epoch = getattr(thing, "set_epoch", None)
        if callable(set_epoch):
            set_epoch(epoch)
    is_within = start > 0 or bool(start_sample)
    is_there = is_within and can_enter(loader) and _enter(loader, start, start_sample)
    batches, is_at_start = begin_pass(loader, epoch, start, position)
    if not (is_there or is_at_start):
        _skip(batches, start, why_read_again(loader), show_progress)
    return batches


def _skip(batches: Iterator[Any], count: int, reason: str, show_progress: bool) -> None:
    """Read batches and throw them away."""
    logger.warning(
        "Reading %d batches again, which were trained on before: %s. To begin the epoch anew instead, type "
        "ignore_data_skip=True: that is faster, and not exact.",
        count,
        reason,
    )
    skipped = itertools.islice(batches, count)
    if show_progress:
        from tqdm.auto import tqdm

        what = "Skipping batches already trained on"
        skipped = tqdm(skipped, what, total=count, unit="batch", dynamic_ncols=True, leave=False)
    collections.deque(skipped, maxlen=0)


def num_samples_of(loader: Any) -> int | None:
    """Samples in a loader's data set, or None where it has no length."""
    dataset = getattr(loader, "dataset", None)
    try:
        return len(dataset)  # type: ignore[arg-type]
    except (TypeError, NotImplementedError):
        return None


def _order_seed(args: TrainingArguments) -> int:
    return args.seed if args.data_seed is None else args.data_seed


def can_enter(loader: Any) -> bool:
    """Whether a pass can begin at any sample of its order."""
    is_ordered = isinstance(loader, DataLoader) and isinstance(loader.sampler, EpochSampler)
    return is_ordered and loader.batch_size is not None and not keeps_position(loader)


def num_batches_from(loader: Any, sample: int) -> int:
    """Batches of a pass that begins at a sample of its order."""
    num_samples, batch_size = max(len(loader.sampler) - sample, 0), int(loader.batch_size)
    num_batches, rest = divmod(num_samples, batch_size)
    return num_batches if loader.drop_last or rest == 0 else num_batches + 1


def _enter(loader: Any, start: int, sample: int | None) -> bool:
    """Begin the next pass at batch ``start``, or at a sample where batches were of another size."""
    loader.sampler.seek(start * loader.batch_size if sample is None else sample)
    number_from = getattr(loader.batch_sampler, "seek", None)
    if callable(number_from):
        number_from(start)
    return True


def _check_kind(dataset: Any, description: str) -> None:
    if not is_iterable(dataset) and not hasattr(dataset, "__getitem__"):
        raise UsageError(
            f"`{argument_of(description)}`: a {type(dataset).__name__} has no samples by index. Pass a list, "
            "a data set with `__getitem__` and `__len__`, or a torch.utils.data.IterableDataset."
        )


def _can_persist(dataset: Any, description: str) -> bool:
    """Whether the loader makes several passes, and processes that live on would know of a new one."""
    if description != TRAINING:
        return False  # each evaluation has a loader of its own
    has_generator = isinstance(getattr(dataset, "generator", None), torch.Generator)
    is_told = has_generator or hasattr(dataset, "set_epoch")
    is_shared = isinstance(getattr(dataset, "_epoch", None), torch.Tensor)  # as Hugging Face's is
    if not is_told or is_shared:
        return True
    logger.warning(
        "`dataloader_persistent_workers`: a %s is told the epoch, and processes that live on would not hear "
        "of it. They are started anew for each epoch.",
        type(dataset).__name__,
    )
    return False


def close(loader: Any) -> None:
    """End the loading processes of a loader that keeps them from one pass to the next."""
    if isinstance(loader, EpochLoader):
        loader.close()

"""Arguments of the data: samplers, loaders, columns."""

from __future__ import annotations

from dataclasses import dataclass

from drivetrain.arguments.fields import argument


@dataclass(init=False, repr=False, eq=False)
class DataArguments:
    """How samples become batches."""

    data_seed: int | None = argument(None, "Seed of the order of the samples. By default: `seed`.")
    dataloader_drop_last: bool = argument(False, "Leave out the last batch if it is smaller.")
    dataloader_num_workers: int = argument(0, "Processes that load data. 0: the main process does.")
    dataloader_pin_memory: bool = argument(
        True, "Load batches into pinned memory, where there is a GPU to copy them to."
    )
    dataloader_persistent_workers: bool = argument(
        False, "Keep the loading processes from one pass over the data to the next."
    )
    dataloader_prefetch_factor: int | None = argument(
        None, "Batches that each loading process has ready in advance. By default: 2."
    )
    remove_unused_columns: bool = argument(
        True, "Leave out keys of the samples that the model's forward does not take."
    )
    label_names: list[str] | None = argument(
        None,
        "Keys of the inputs that are labels. By default: parameters of forward with 'label' in them.",
    )
    group_by_length: bool = argument(
        False, "Put samples of about the same length into a batch, so that little is padded."
    )
    length_column_name: str = argument(
        "length", "The column with the samples' lengths, if there is one, for `group_by_length`."
    )
    ignore_data_skip: bool = argument(
        False, "When resuming, begin the data of the epoch anew. Faster for streams, and not exact."
    )

"""From a list of samples to a batch of tensors."""

from __future__ import annotations

import numbers
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from drivetrain_registry import UsageError

Sample = Any
Batch = dict[str, Any]


def default_data_collator(features: Sequence[Sample], return_tensors: str = "pt") -> Batch:
    """Stack samples key by key, without padding.

    A sample is a mapping, or an object with attributes. Its ``label`` (a number) or ``label_ids`` (a
    number or a list) become the batch's ``labels``: whole numbers as ``torch.long``, others as
    ``torch.float``. Texts and None are left out.

    Args:
        features: Samples with the same keys; values are numbers, lists, arrays or tensors, each of
            the same shape in every sample.
        return_tensors: Only ``"pt"``, PyTorch's.

    Returns:
        Key to tensor of shape (len(features), ...).

    Raises:
        TypeError: A sample is neither a mapping nor has attributes.
        UsageError: The values of a key cannot be stacked.
    """
    if return_tensors != "pt":
        raise UsageError(
            f"`return_tensors`: {return_tensors!r} is not supported. Type 'pt', for PyTorch."
        )
    samples = [_as_mapping(feature) for feature in features]
    first = samples[0]
    batch: Batch = {}
    label_key = next((key for key in ("label", "label_ids") if first.get(key) is not None), None)
    if label_key is not None:
        batch["labels"] = _stack_labels([sample[label_key] for sample in samples], label_key)
    for key, value in first.items():
        if key in ("label", "label_ids") or value is None or isinstance(value, str):
            continue
        batch[key] = _stack(key, [sample[key] for sample in samples])
    return batch


class DataCollatorWithPadding:
    """Pads samples to the longest of a batch with a tokenizer's (or similar object's) ``pad`` method.

    Args:
        tokenizer: An object with a method ``pad(samples, padding=..., max_length=...,
            pad_to_multiple_of=..., return_tensors=...)``.
        padding: True for the longest sample, ``"max_length"``, or False.
        max_length: The length for ``"max_length"``.
        pad_to_multiple_of: Round the length up to a multiple.
        return_tensors: What ``pad`` is asked for.
    """

    def __init__(
        self,
        tokenizer: Any,
        padding: bool | str = True,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        return_tensors: str = "pt",
    ) -> None:
        self.tokenizer = tokenizer
        self.padding = padding
        self.max_length = max_length
        self.pad_to_multiple_of = pad_to_multiple_of
        self.return_tensors = return_tensors

    def __call__(self, features: Sequence[Mapping[str, Any]]) -> Any:
        """Pad and stack samples; ``label`` and ``label_ids`` become ``labels``."""
        batch = self.tokenizer.pad(
            list(features),
            padding=self.padding,
            max_length=self.max_length,
            pad_to_multiple_of=self.pad_to_multiple_of,
            return_tensors=self.return_tensors,
        )
        for key in ("label", "label_ids"):
            if key in batch:
                batch["labels"] = batch.pop(key)
        return batch


def _as_mapping(feature: Sample) -> Mapping[str, Any]:
    if isinstance(feature, Mapping):
        return feature
    try:
        return vars(feature)
    except TypeError:
        raise TypeError(
            f"`train_dataset`: a sample is a {type(feature).__name__}, and batches are made of mappings "
            "such as {'input_ids': ..., 'labels': ...}. Return a dict from the data set, or pass a "
            "`data_collator` that makes a dict of tensors of a list of such samples."
        ) from None


def _stack_labels(labels: list[Any], key: str) -> torch.Tensor:
    first = labels[0]
    if isinstance(first, torch.Tensor):
        return (
            torch.stack(labels) if first.dim() > 0 else torch.tensor([label.item() for label in labels])
        )
    is_list = isinstance(first, (list, tuple, np.ndarray)) and len(first) > 0
    # A list under `label` says for each class whether it applies: published as floats, for that loss.
    element = first[0] if is_list and key == "label_ids" else first
    dtype = torch.long if isinstance(element, numbers.Integral) else torch.float
    if isinstance(first, np.ndarray):
        return torch.from_numpy(np.stack(labels)).to(dtype)
    return torch.tensor(labels, dtype=dtype)


def _stack(key: str, values: list[Any]) -> torch.Tensor:
    try:
        if isinstance(values[0], torch.Tensor):
            return torch.stack(values)
        if isinstance(values[0], np.ndarray):
            return torch.from_numpy(np.stack(values))
        return torch.tensor(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UsageError(
            f"`data_collator`: the samples' {key!r} cannot be stacked into one tensor ({error}). If they "
            "differ in length, pass a tokenizer as `processing_class` or a `data_collator` that pads; "
            f"if {key!r} is not meant for the model, leave `remove_unused_columns` at True."
        ) from error

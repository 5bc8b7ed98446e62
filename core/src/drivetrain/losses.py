"""Losses: where a model's loss is in its outputs, and what a sum of losses is divided by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from drivetrain.data.lengths import batch_size_of
from drivetrain.parallel_wrappers import computes_in_parts, unwrap
from drivetrain_registry import UsageError


def loss_in(outputs: Any, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
    """The loss in what a model returned: ``outputs["loss"]``, the first of a tuple, or a scalar itself.

    Of a model that divides batches over devices it is the mean of their losses.

    Raises:
        UsageError: There is none.
    """
    if isinstance(outputs, dict):  # what nearly every model returns (`benchmarks/loop.py`)
        loss = outputs.get("loss")
        if isinstance(loss, torch.Tensor) and loss.dim() == 0:
            return loss
    if computes_in_parts(model):
        return _loss_in(outputs, model, inputs, num_dims=1).mean()
    return _loss_in(outputs, model, inputs, num_dims=0)


def _loss_in(outputs: Any, model: Any, inputs: dict[str, Any], num_dims: int) -> torch.Tensor:
    if isinstance(outputs, torch.Tensor) and outputs.dim() == num_dims:
        return outputs
    if not isinstance(outputs, dict):
        first: torch.Tensor = outputs[0]
        return first
    if "loss" not in outputs:
        raise UsageError(
            f"`model`: {type(unwrap(model)).__name__} returned {', '.join(outputs)} and no 'loss' for the "
            f"inputs {', '.join(inputs)}. Give the samples labels, let forward compute the loss from them, "
            "pass `compute_loss_func`, or override `compute_loss`."
        )
    loss: torch.Tensor = outputs["loss"]
    return loss


def count_labels(batches: Sequence[dict[str, Any]], model: Any) -> torch.Tensor | None:
    """Labels that count (are not -100) in micro-batches, a scalar; None where they are no single tensor."""
    if not batches or "labels" not in batches[0]:
        return None
    try:
        is_shifted = shifts_labels(model)
        counts = [_labels_that_count(batch, is_shifted).ne(-100).sum() for batch in batches]
    except (AttributeError, TypeError, IndexError):  # lists of boxes, say
        return None
    return torch.stack(counts).sum()


def _labels_that_count(batch: dict[str, Any], is_shifted: bool) -> Any:
    """The labels that a loss looks at: that of a causal language model leaves out the first of each row."""
    if "shift_labels" in batch:
        return batch["shift_labels"]
    return batch["labels"][..., 1:] if is_shifted else batch["labels"]


def shifts_labels(model: Any) -> bool:
    """Whether a model's own loss compares each position with the next label.

    Found by what transformers' models say of themselves: ``loss_type``, and a configuration that is
    no encoder-decoder's.
    """
    model = unwrap(model)
    is_encoder_decoder = getattr(getattr(model, "config", None), "is_encoder_decoder", False)
    return getattr(model, "loss_type", None) == "ForCausalLM" and not is_encoder_decoder


IGNORED = -100
"""The label that no loss looks at: `torch.nn.functional.cross_entropy`'s ``ignore_index``."""


@dataclass(frozen=True)
class LossShare:
    """What a micro-batch's mean loss counts for in the mean of its update.

    Attributes:
        count: Labels (or samples) that its loss is the mean of.
        total: The same of all micro-batches of the update.
        num_batches: How many there are.
        is_even: All of them count the same; so the loss is divided by ``num_batches``, to the last bit
            what the published trainer does.
    """

    count: int | torch.Tensor
    total: int | torch.Tensor
    num_batches: int
    is_even: bool = False

    @property
    def is_nothing(self) -> bool:
        """Whether none of its labels count, so that its mean is no number."""
        return isinstance(self.count, int) and self.count == 0

    def of(self, loss: torch.Tensor) -> torch.Tensor:
        """The share of a mean loss in the mean loss of the update."""
        return loss / self.num_batches if self.is_even else loss * self.count / self.total


def loss_shares(batches: Sequence[Any], model: Any, label_names: Sequence[str]) -> list[LossShare]:
    """The share of each micro-batch of an update, by the labels that count in it.

    Counts of batches in host memory are numbers, so that nothing waits for a device.
    """
    is_shifted = predicts_next_token(model)
    counts = [_items_in(batch, is_shifted, label_names) for batch in batches]
    total, num_batches = sum(counts), len(counts)
    if not counts:
        return []
    if not all(isinstance(count, int) for count in counts):
        return [LossShare(count, total, num_batches) for count in counts]
    if total == 0 or (total == num_batches * counts[0] and counts.count(counts[0]) == num_batches):
        return [LossShare(counts[0], total, num_batches, is_even=True)] * num_batches
    return [LossShare(count, total, num_batches) for count in counts]


def _items_in(batch: Any, is_shifted: bool, label_names: Sequence[str]) -> Any:
    """What a micro-batch's loss is the mean of: its labels that count; its samples if that cannot be told."""
    present = [name for name in label_names if name in batch] if isinstance(batch, dict) else []
    if len(present) == 1 and isinstance(batch[present[0]], torch.Tensor):
        labels = batch[present[0]]
        if present == ["labels"]:
            labels = _labels_that_count(batch, is_shifted)
        if labels.is_floating_point():
            return labels.numel()
        # NumPy's overhead is a fifth of torch's, and labels are few (`benchmarks/loop.py`).
        if type(labels) is torch.Tensor and labels.is_cpu and not labels.is_complex():
            return int(np.count_nonzero(labels.numpy() != IGNORED))
        return labels.ne(IGNORED).sum()
    return batch_size_of(batch) or 1


class LabelSmoother:
    """Cross-entropy with some of each label spread evenly over all classes (arXiv 1512.00567, section 7).

    Args:
        epsilon: The share that is spread.
        ignore_index: Labels that do not count.
    """

    def __init__(self, epsilon: float = 0.1, ignore_index: int = IGNORED) -> None:
        self.epsilon = epsilon
        self.ignore_index = ignore_index

    def __call__(
        self,
        model_output: Any,
        labels: torch.Tensor,
        shift_labels: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        """The mean over the labels that count, a scalar.

        Args:
            model_output: A dict with ``"logits"``, or a tuple whose first is the logits: shape
                (..., classes).
            labels: Class indices, shape (...).
            shift_labels: Compare each position's logits with the next label, as causal language models do.
            num_items_in_batch: What the sum is divided by instead of the number of labels that count here.
        """
        logits = model_output["logits"] if isinstance(model_output, dict) else model_output[0]
        if shift_labels:
            logits, labels = logits[..., :-1, :], labels[..., 1:]
        log_probabilities = -nn.functional.log_softmax(logits, dim=-1)
        is_ignored = labels.eq(self.ignore_index).unsqueeze(-1)
        chosen = torch.clamp(labels, min=0).unsqueeze(-1)
        of_label = log_probabilities.gather(dim=-1, index=chosen).masked_fill(is_ignored, 0.0)
        # Summed in float32 even where the logits are in 16 bits.
        of_all = log_probabilities.sum(dim=-1, keepdim=True, dtype=torch.float32)
        of_all = of_all.masked_fill(is_ignored, 0.0)
        num_labels = num_items_in_batch
        if num_labels is None:
            num_labels = is_ignored.numel() - is_ignored.long().sum()
        label_loss = of_label.sum() / num_labels
        even_loss = of_all.sum() / (num_labels * log_probabilities.shape[-1])
        return (1 - self.epsilon) * label_loss + self.epsilon * even_loss


def predicts_next_token(model: Any) -> bool:
    """Whether a model's logits at a position are for the next one: causal language models, by their names."""
    model = unwrap(model)
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    names = [cls.__name__ for cls in type(base).__mro__]
    return shifts_labels(base) or any(name.endswith(("ForCausalLM", "LMHeadModel")) for name in names)


def add_decoder_inputs(inputs: dict[str, Any], labels: torch.Tensor, model: Any) -> dict[str, Any]:
    """What an encoder-decoder makes of labels that are not passed to it: the inputs of its decoder."""
    prepare = getattr(unwrap(model), "prepare_decoder_input_ids_from_labels", None)
    if not callable(prepare) or "decoder_input_ids" in inputs:
        return inputs
    return {**inputs, "decoder_input_ids": prepare(labels=labels)}

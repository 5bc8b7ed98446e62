"""Losses: where a model's loss is in its outputs, and what a sum of losses is divided by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from drivetrain_registry import UsageError


def loss_in(outputs: Any, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
    """The loss in what a model returned: ``outputs["loss"]``, the first of a tuple, or a scalar itself.

    Raises:
        UsageError: There is none.
    """
    if isinstance(outputs, torch.Tensor) and outputs.dim() == 0:
        return outputs
    if not isinstance(outputs, dict):
        first: torch.Tensor = outputs[0]
        return first
    if "loss" not in outputs:
        raise UsageError(
            f"`model`: {type(model).__name__} returned {', '.join(outputs)} and no 'loss' for the inputs "
            f"{', '.join(inputs)}. Give the samples labels, let forward compute the loss from them, pass "
            "`compute_loss_func`, or override `compute_loss`."
        )
    loss: torch.Tensor = outputs["loss"]
    return loss


def count_labels(batches: Sequence[dict[str, Any]], model: Any) -> torch.Tensor | None:
    """Labels that count (are not -100) in micro-batches, a scalar; None where they are no single tensor."""
    if not batches or "labels" not in batches[0]:
        return None
    try:
        counts = [_labels_that_count(batch, model).ne(-100).sum() for batch in batches]
    except (AttributeError, TypeError, IndexError):  # lists of boxes, say
        return None
    return torch.stack(counts).sum()


def _labels_that_count(batch: dict[str, Any], model: Any) -> Any:
    """The labels that a loss looks at: that of a causal language model leaves out the first of each row."""
    if "shift_labels" in batch:
        return batch["shift_labels"]
    return batch["labels"][..., 1:] if _shifts_labels(model) else batch["labels"]


def _shifts_labels(model: Any) -> bool:
    """Whether a model's own loss compares each position with the next label.

    Found by what transformers' models say of themselves: ``loss_type``, and a configuration that is
    no encoder-decoder's.
    """
    is_encoder_decoder = getattr(getattr(model, "config", None), "is_encoder_decoder", False)
    return getattr(model, "loss_type", None) == "ForCausalLM" and not is_encoder_decoder

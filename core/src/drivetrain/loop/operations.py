"""Floating-point operations of a batch, counted without walking the model at each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from drivetrain.parallel_wrappers import unwrap


class OperationsCounter:
    """What `Trainer.floating_point_ops` knows of a model: looked up once, for that walks all its modules.

    Attributes:
        model: The model.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        inner = unwrap(model)
        self._own_count = _own_count(inner)
        self._input_name = getattr(inner, "main_input_name", "input_ids")
        self._num_parameters = 0 if self._own_count is not None else _num_parameters(inner)

    def count(self, inputs: Any) -> int:
        """Operations of forward and backward of a batch; 0 if that is not known."""
        if self._own_count is not None:
            return int(self._own_count(inputs))
        if not self._num_parameters:
            return 0
        tokens = inputs.get(self._input_name) if isinstance(inputs, Mapping) else None
        return 0 if tokens is None else 6 * tokens.numel() * self._num_parameters


def _own_count(model: nn.Module) -> Callable[[Any], int] | None:
    """A method of the model's own; that of earlier transformers gives what is counted here, more slowly."""
    count = getattr(model, "floating_point_ops", None)
    methods = (count, getattr(model, "estimate_tokens", None))
    is_generic = all(getattr(m, "__module__", None) == "transformers.modeling_utils" for m in methods)
    return count if callable(count) and not is_generic else None


def _num_parameters(model: nn.Module) -> int:
    """Those that are no embeddings, of a model that counts its parameters as transformers' do; else 0."""
    count = getattr(model, "num_parameters", None)
    return int(count(exclude_embeddings=True)) if callable(count) else 0

"""Computing a batch without gradients: what `Trainer.prediction_step` does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MethodType
from typing import TYPE_CHECKING, Any

import torch

from drivetrain.data.devices import detach
from drivetrain.parallel_wrappers import unwrap
from drivetrain.signatures import accepted, accepts

if TYPE_CHECKING:
    from drivetrain.trainer import Trainer

Predicted = tuple[Any, Any, Any]
"""Loss, outputs and labels of a batch, each None if there is none."""


class BatchPredictor:
    """Computes batches without gradients, each as `Trainer.prediction_step` documents.

    What is the same for all batches is found out once. With small batches, to find it out for each of them
    would take a tenth of what a bare loop takes (`benchmarks/evaluation.py`). The trainer's overridable
    methods are called for each.

    Args:
        trainer: The trainer.
        model: The model, as it is wrapped; None: that of the trainer, whichever it is at each batch.
        loss_only: Give the loss only.
        ignore_keys: Outputs of the model to leave out; None: those that its configuration names.
    """

    def __init__(
        self, trainer: Trainer, model: Any, loss_only: bool, ignore_keys: Sequence[str] | None
    ) -> None:
        self._trainer = trainer
        self._model = model
        self._loss_only = loss_only
        self._label_names = trainer.label_names
        ignored = _default_ignored(unwrap(trainer.model)) if ignore_keys is None else ignore_keys
        self._ignored = frozenset(("loss", *ignored))
        self._takes_count = accepts(trainer.compute_loss, "num_items_in_batch")
        self._without_gradients = torch.no_grad()

    def __call__(self, inputs: dict[str, Any]) -> Predicted:
        """Loss, outputs and labels of a batch."""
        trainer, names = self._trainer, self._label_names
        model = trainer.model_wrapped if self._model is None else self._model
        has_labels = _has_all(inputs, names)
        has_loss = has_labels or (not names and _is_to_return_loss(trainer, inputs))
        inputs = trainer._prepare_inputs(inputs)
        # Grabbed first, for computing the loss may take them out of the inputs.
        labels = _labels_of(inputs, names) if has_labels else None
        loss = None
        with self._without_gradients, trainer.compute_loss_context_manager():
            if has_loss:
                count = (
                    {"num_items_in_batch": trainer.count_items([inputs])} if self._takes_count else {}
                )
                loss, outputs = trainer.compute_loss(model, inputs, return_outputs=True, **count)
                loss = _scalar(loss)
            else:
                outputs = model(**inputs)
        if self._loss_only:
            return loss, None, None
        return loss, self._keep(outputs, has_loss), labels

    def _keep(self, outputs: Any, has_loss: bool) -> Any:
        """What a model returned, without its loss and what is to be left out; None if that is nothing."""
        if type(outputs) is dict or isinstance(outputs, Mapping):  # to ask the second takes long
            kept = [v for name, v in outputs.items() if name not in self._ignored and v is not None]
            return _detached(kept)
        if isinstance(outputs, torch.Tensor):
            is_loss = has_loss and outputs.dim() == 0  # and nothing else
            return None if is_loss else outputs.detach()
        outputs = detach(outputs[1:] if has_loss else outputs)
        if isinstance(outputs, (list, tuple)) and len(outputs) == 1:
            return outputs[0]
        return outputs if len(outputs) else None


def make_predictor(
    trainer: Trainer, loss_only: bool, ignore_keys: list[str] | None
) -> Callable[[Any], Predicted]:
    """What computes the batches of an evaluation: the trainer's `prediction_step`, whoever wrote it.

    The trainer's own makes a `BatchPredictor` for each batch; here is one for all of them.
    """
    step = trainer.prediction_step
    if _is_own(step, trainer):
        return BatchPredictor(trainer, None, loss_only, ignore_keys)
    options = accepted(step, ignore_keys=ignore_keys)
    return lambda batch: step(trainer.model_wrapped, batch, loss_only, **options)


def _is_own(step: Any, trainer: Trainer) -> bool:
    """Whether it is `Trainer.prediction_step` as it was written, and no subclass or patch has another."""
    from drivetrain.trainer import PREDICTION_STEP

    is_method = type(step) is MethodType
    return is_method and step.__self__ is trainer and step.__func__ is PREDICTION_STEP


def _has_all(inputs: Mapping[str, Any], names: Sequence[str]) -> bool:
    """Whether a batch has all of the labels, and there are any."""
    for name in names:
        if inputs.get(name) is None:
            return False
    return bool(names)


def _is_to_return_loss(trainer: Trainer, inputs: Mapping[str, Any]) -> bool:
    """Whether a model without labels gives a loss: as the batch says, or else the model's forward."""
    asked = inputs.get("return_loss")
    return bool(trainer.can_return_loss if asked is None else asked)


def _labels_of(inputs: Mapping[str, Any], names: Sequence[str]) -> Any:
    """The labels, detached: one by itself, several as a tuple. The model may change its own in place."""
    labels = detach(tuple(inputs[name] for name in names))
    return labels[0] if len(labels) == 1 else labels


def _scalar(loss: torch.Tensor) -> torch.Tensor:
    """The mean of a loss, without gradients.

    On a device it is a copy, for the next batch may be computed into the same memory (CUDA graphs).
    """
    if loss.requires_grad:
        loss = loss.detach()
    return loss if loss.dim() == 0 and loss.is_cpu else loss.mean()


def _detached(values: list[Any]) -> Any:
    """Values without their gradients: one by itself, several as a tuple, and None for none."""
    if len(values) != 1:
        return detach(tuple(values)) if values else None
    value = values[0]
    is_plain = isinstance(value, torch.Tensor) and not value.requires_grad  # as nearly every one is
    return value if is_plain else detach(value)


def _default_ignored(model: Any) -> list[str]:
    config = getattr(model, "config", None)
    if config is None:
        return []
    return list(getattr(config, "keys_to_ignore_at_inference", ["past_key_values"]))

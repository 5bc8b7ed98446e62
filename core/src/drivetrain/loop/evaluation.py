"""The evaluation loop, shared by `Trainer.evaluate` and `Trainer.predict`."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from drivetrain.data.devices import detach
from drivetrain.data.lengths import batch_size_of
from drivetrain.data.loaders import num_samples_of
from drivetrain.loop.predictions import PredictionStore
from drivetrain.metrics import EvalLoopOutput, EvalPrediction, as_json_numbers
from drivetrain.signatures import accepts

if TYPE_CHECKING:
    from drivetrain.trainer import Trainer

logger = logging.getLogger(__name__)


class EvaluationLoop:
    """One pass over a loader without gradients.

    Args:
        trainer: The trainer, whose `prediction_step` computes each batch.
        loader: The batches.
        description: What this is called in logs.
        prediction_loss_only: Keep losses only.
        ignore_keys: Outputs of the model to leave out.
        prefix: What the metrics' names begin with.
    """

    def __init__(
        self,
        trainer: Trainer,
        loader: Any,
        description: str,
        prediction_loss_only: bool,
        ignore_keys: list[str] | None,
        prefix: str,
    ) -> None:
        self.trainer = trainer
        self.loader = loader
        self.description = description
        self.prediction_loss_only = prediction_loss_only
        self.ignore_keys = ignore_keys
        self.prefix = prefix
        move_every = trainer.args.eval_accumulation_steps
        self.predictions = PredictionStore(move_every)
        self.labels = PredictionStore(move_every)
        self.losses: list[torch.Tensor] = []
        self.batch_sizes: list[int] = []
        self.num_samples = 0

    def run(self) -> EvalLoopOutput:
        """Compute every batch, then the metrics."""
        logger.info(
            "%s: %s samples.", self.description, num_samples_of(self.loader) or "unknown number of"
        )
        self.begin()
        self.trainer.hooks.call("on_evaluation_begin")
        try:
            for batch in self.loader:
                self.run_batch(batch)
                self.trainer.emit("on_prediction_step")
        finally:
            self.trainer.hooks.call("on_evaluation_end")
        return self.finish()

    def begin(self) -> None:
        """Put model and optimizer into evaluation mode."""
        self.trainer.model_wrapped.eval()
        set_eval = getattr(self.trainer.optimizer, "eval", None)
        if callable(set_eval):
            set_eval()
        self.trainer.callback_handler.eval_dataloader = self.loader

    def run_batch(self, batch: Any) -> None:
        """Compute one batch and keep what is wanted of it."""
        trainer = self.trainer
        batch_size = batch_size_of(batch) or 1
        self.num_samples += batch_size
        loss, logits, labels = trainer.prediction_step(
            trainer.model_wrapped, batch, self.prediction_loss_only, ignore_keys=self.ignore_keys
        )
        if loss is not None:
            self.losses.append(loss.detach())
            self.batch_sizes.append(batch_size)
        if logits is not None:
            if trainer.preprocess_logits_for_metrics is not None:
                logits = trainer.preprocess_logits_for_metrics(logits, labels)
            self.predictions.add(logits)
        if labels is not None:
            self.labels.add(labels)

    def finish(self) -> EvalLoopOutput:
        """Put the batches together and compute the metrics."""
        predictions, labels = self.predictions.concatenate(), self.labels.concatenate()
        metrics: dict[str, Any] = {}
        if self.trainer.compute_metrics is not None and predictions is not None and labels is not None:
            metrics = dict(self.trainer.compute_metrics(EvalPrediction(predictions, labels)))
        if self.losses:
            metrics[f"{self.prefix}_loss"] = self.mean_loss()
        metrics = {
            name if name.startswith(f"{self.prefix}_") else f"{self.prefix}_{name}": value
            for name, value in as_json_numbers(metrics).items()
        }
        num_samples = num_samples_of(self.loader) or self.num_samples
        return EvalLoopOutput(predictions, labels, metrics, num_samples)

    def mean_loss(self) -> float:
        """The mean over samples of the loss of their batch, in float32 as published."""
        losses = torch.stack(self.losses).float().cpu().numpy()
        per_sample = np.repeat(losses, self.batch_sizes)
        finite = np.isfinite(per_sample)
        if self.trainer.args.logging_nan_inf_filter and finite.any():
            if not finite.all():
                logger.warning("%s: a loss was not finite and is left out.", self.description)
            per_sample = per_sample[finite]
        return float(per_sample.mean())


def predict_batch(
    trainer: Trainer,
    model: Any,
    inputs: dict[str, Any],
    prediction_loss_only: bool,
    ignore_keys: Sequence[str] | None,
) -> tuple[Any, Any, Any]:
    """Loss, outputs and labels of a batch, each None if there is none; see `Trainer.prediction_step`."""
    names = trainer.label_names
    has_labels = bool(names) and all(inputs.get(name) is not None for name in names)
    inputs = trainer.prepare_inputs(inputs)
    ignored = {"loss", *(_default_ignored(trainer.model) if ignore_keys is None else ignore_keys)}
    # Grabbed first, for computing the loss may take them out of the inputs.
    labels = _unpack_one(detach(tuple(inputs[name] for name in names))) if has_labels else None
    with torch.no_grad(), trainer.compute_loss_context_manager():
        if has_labels or trainer.can_return_loss:
            count = {}
            if accepts(trainer.compute_loss, "num_items_in_batch"):
                count["num_items_in_batch"] = trainer.count_items([inputs])
            loss, outputs = trainer.compute_loss(model, inputs, return_outputs=True, **count)
            loss = loss.detach().mean()
            rest = outputs[1:] if isinstance(outputs, (list, tuple)) else outputs
        else:
            loss, rest = None, model(**inputs)
    if prediction_loss_only:
        return loss, None, None
    if isinstance(rest, dict):
        rest = tuple(value for name, value in rest.items() if name not in ignored)
    if (
        isinstance(rest, torch.Tensor) and rest.dim() == 0
    ):  # the model returned its loss and nothing else
        rest = ()
    return loss, _unpack_one(detach(rest)) if len(rest) else None, labels


def _default_ignored(model: Any) -> list[str]:
    config = getattr(model, "config", None)
    if config is None:
        return []
    return list(getattr(config, "keys_to_ignore_at_inference", ["past_key_values"]))


def _unpack_one(values: Any) -> Any:
    return values[0] if isinstance(values, tuple) and len(values) == 1 else values

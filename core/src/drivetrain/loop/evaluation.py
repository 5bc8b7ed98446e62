"""The evaluation loop, shared by `Trainer.evaluate` and `Trainer.predict`."""

from __future__ import annotations

import inspect
import itertools
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch

from drivetrain.data.lengths import batch_size_of, length_of
from drivetrain.data.loaders import is_iterable, num_samples_of
from drivetrain.loop.evaluation_loss import EvaluationLoss
from drivetrain.loop.predicting import BatchPredictor, Predicted, make_predictor
from drivetrain.loop.predictions import PADDING, PredictionStore
from drivetrain.metrics import EvalLoopOutput, EvalPrediction, as_json_numbers
from drivetrain.parallel_wrappers import unwrap
from drivetrain_registry import UsageError

if TYPE_CHECKING:
    from drivetrain.arguments import TrainingArguments
    from drivetrain.trainer import Trainer

logger = logging.getLogger(__name__)


class EvaluationLoop:
    """One pass over a loader without gradients.

    Args:
        trainer: The trainer, whose `prediction_step` computes each batch.
        loader: The batches.
        description: What this is called in logs. A ``"Prediction"`` keeps what the model returns, even
            where metrics are computed batch by batch: that is what it is for.
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
        args = trainer.args
        self.trainer = trainer
        self.loader = loader
        self.description = description
        self.prediction_loss_only = prediction_loss_only
        self.ignore_keys = ignore_keys
        self.prefix = prefix
        self.goes_by_batch = args.batch_eval_metrics
        self.is_kept = not self.goes_by_batch or description == "Prediction"
        self.extras = args.include_for_metrics if trainer.compute_metrics is not None else []
        padding = getattr(trainer, "prediction_padding", PADDING)  # ids have one of their own
        self.predictions = self.make_store(padding)
        self.labels = self.make_store(padding)
        self.inputs = self.make_store()
        self.sample_losses = self.make_store()
        self.loss = EvaluationLoss(_num_expected(loader), args.logging_nan_inf_filter)
        self.metrics: dict[str, Any] = {}
        self.num_samples = 0

    @property
    def num_batches(self) -> int | None:
        """How many batches will come; None for a stream, which PyTorch counts aloud once it was asked."""
        is_stream = is_iterable(getattr(self.loader, "dataset", None))
        return None if is_stream else length_of(self.loader)

    def make_store(self, padding: int = PADDING) -> PredictionStore:
        """What collects something of each batch."""
        args = self.trainer.args
        return PredictionStore(
            args.eval_accumulation_steps, padding, args.eval_do_concat_batches, self.num_batches
        )

    def run(self) -> EvalLoopOutput:
        """Compute every batch, then the metrics."""
        logger.info(
            "%s: %s samples.", self.description, num_samples_of(self.loader) or "unknown number of"
        )
        self.begin()
        with self.trainer.evaluation_weights.in_use():
            self.run_batches()
            return self.finish()

    def begin(self) -> None:
        """Put the model into evaluation mode."""
        self.trainer.model_wrapped.eval()
        self.trainer.callback_handler.eval_dataloader = self.loader

    def run_batches(self) -> None:
        """Compute every batch."""
        error: BaseException | None = None
        is_outermost = self.trainer.num_evaluations == 0
        self.trainer.num_evaluations += 1
        try:
            if is_outermost:
                self.trainer.hooks.call("on_evaluation_begin")
            predict = make_predictor(self.trainer, self.prediction_loss_only, self.ignore_keys)
            for batch, is_last in _mark_last(self.loader):
                self.run_batch(predict, batch, is_last)
                self.trainer.emit("on_prediction_step")
        except BaseException as caught:
            error = caught
            raise
        finally:
            self.trainer.num_evaluations -= 1
            if is_outermost:
                self.trainer.hooks.call_each("on_evaluation_end", error=error)

    def run_batch(self, predict: Callable[[Any], Predicted], batch: Any, is_last: bool) -> None:
        """Compute one batch, and keep what is wanted of it or hand it to the metrics at once."""
        trainer = self.trainer
        num_samples = batch_size_of(batch) or 1
        self.num_samples += num_samples
        loss, logits, labels = predict(batch)
        if loss is not None:
            self.loss.add(loss, num_samples)
        if logits is not None and trainer.preprocess_logits_for_metrics is not None:
            logits = trainer.preprocess_logits_for_metrics(logits, labels)
        losses = self.repeat_loss(loss, num_samples) if self.extras else None
        if self.is_kept:
            self.keep(batch, logits, labels, losses)
        if self.goes_by_batch and logits is not None and labels is not None:
            inputs = batch if "inputs" in self.extras else None
            self.compute_metrics(EvalPrediction(logits, labels, inputs, losses), compute_result=is_last)

    def keep(self, batch: Any, logits: Any, labels: Any, losses: Any) -> None:
        """Keep what is wanted of a batch."""
        if logits is not None:
            self.predictions.add(logits)
        if labels is not None:
            self.labels.add(labels)
        if losses is not None:
            self.sample_losses.add(losses)
        if "inputs" in self.extras:
            self.inputs.add(self.main_input_of(batch))

    def main_input_of(self, batch: Any) -> Any:
        """What the model computes a batch from."""
        name = getattr(unwrap(self.trainer.model), "main_input_name", "input_ids")
        if name not in batch:  # a plain module does not say how it is called
            name = next((key for key in batch if key not in self.trainer.label_names), name)
        return batch[name]

    def repeat_loss(self, loss: Any, num_samples: int) -> torch.Tensor | None:
        """The loss of a batch for each of its samples, if the metrics are to see it."""
        if "loss" not in self.extras or loss is None:
            return None
        return torch.as_tensor(loss).detach().float().mean().repeat(num_samples)

    def compute_metrics(self, prediction: EvalPrediction, compute_result: bool | None = None) -> None:
        """Call ``compute_metrics``. Where it goes by batch, what it returns for the last one counts."""
        if self.trainer.compute_metrics is None:
            return
        flag = {} if compute_result is None else {"compute_result": compute_result}
        returned = self.trainer.compute_metrics(prediction, **flag)
        if compute_result is not False:
            self.metrics = dict(returned)

    def finish(self) -> EvalLoopOutput:
        """Put the batches together and compute the metrics."""
        predictions, labels = self.predictions.result(), self.labels.result()
        if predictions is not None and labels is not None and not self.goes_by_batch:
            inputs, losses = self.inputs.result(), self.sample_losses.result()
            self.compute_metrics(EvalPrediction(predictions, labels, inputs, losses))
        metrics = self.metrics
        mean_loss = self.loss.mean()
        if mean_loss is not None:
            metrics[f"{self.prefix}_loss"] = mean_loss
        if self.loss.num_left_out and self.loss.has_finite:
            logger.warning("%s: a loss was not finite and is left out.", self.description)
            metrics[f"{self.prefix}_non_finite_losses"] = self.loss.num_left_out
        metrics = {
            name if name.startswith(f"{self.prefix}_") else f"{self.prefix}_{name}": value
            for name, value in as_json_numbers(metrics).items()
        }
        num_samples = num_samples_of(self.loader) or self.num_samples
        return EvalLoopOutput(predictions, labels, metrics, num_samples)


def check_metrics_function(args: TrainingArguments, compute_metrics: Callable[..., Any] | None) -> None:
    """Check that ``compute_metrics`` is what the arguments need; say so if they need one and there is none.

    Raises:
        UsageError: The arguments ask for metrics batch by batch, and it does not take ``compute_result``.
    """
    if compute_metrics is None:
        for name in ("batch_eval_metrics", "include_for_metrics"):
            if getattr(args, name):
                logger.warning(
                    "`%s`: it has no effect without `compute_metrics`. Pass one to Trainer.", name
                )
    elif args.prediction_loss_only:
        logger.warning(
            "`compute_metrics`: it is never called with `prediction_loss_only`=True. Leave out one of them."
        )
    elif args.batch_eval_metrics and not _takes_result_flag(compute_metrics):
        name = getattr(compute_metrics, "__name__", repr(compute_metrics))
        raise UsageError(
            "`batch_eval_metrics`: True calls `compute_metrics` with compute_result=True or False, and "
            f"{name} does not take that. Type def compute_metrics(prediction, compute_result), which gathers "
            "what it needs of each batch and, with True, returns the metrics."
        )


def _takes_result_flag(function: Callable[..., Any]) -> bool:
    parameters = inspect.signature(function).parameters
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    return takes_any or "compute_result" in parameters


def _mark_last(batches: Iterable[Any]) -> Iterator[tuple[Any, bool]]:
    """Each batch, and whether none comes after it: a stream does not say so before its next one."""
    iterator = iter(batches)
    held = list(itertools.islice(iterator, 1))
    for batch in iterator:
        yield held.pop(), False
        held.append(batch)
    for batch in held:
        yield batch, True


def _num_expected(loader: Any) -> int | None:
    """Samples that a loader will give, as far as it can be known."""
    count = num_samples_of(loader)
    if count is not None and getattr(loader, "drop_last", False):
        count -= count % (getattr(loader, "batch_size", None) or 1)
    return count


def predict_batch(
    trainer: Trainer,
    model: Any,
    inputs: dict[str, Any],
    prediction_loss_only: bool,
    ignore_keys: Sequence[str] | None,
) -> Predicted:
    """Loss, outputs and labels of a batch, each None if there is none; see `Trainer.prediction_step`."""
    loss, outputs, labels = BatchPredictor(trainer, model, prediction_loss_only, ignore_keys)(inputs)
    if loss is not None:
        loss = loss.clone()  # the model may have one tensor for all batches
    return loss, outputs, labels

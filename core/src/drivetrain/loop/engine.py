"""The verbs of training: forward and backward, clip, step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from drivetrain.metrics import metric_key
from drivetrain.signatures import accepts

if TYPE_CHECKING:
    from drivetrain.loop.windows import Window
    from drivetrain.trainer import Trainer


class Engine:
    """Applies the run's strategy, precision, optimizer and schedule to batches.

    Between two logs nothing is read from the device: losses and norms stay tensors.
    """

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        # Made once: walking the modules at every step is what makes large models slow to step.
        self.parameters = list(trainer.model_wrapped.parameters())
        self.gradient_norm: torch.Tensor | float | None = None
        self.learning_rate: torch.Tensor | float | None = None
        self.was_stepped = True
        self._step_counts_items = accepts(trainer.training_step, "num_items_in_batch")

    def begin_training(self) -> None:
        """Put the model into training mode, and the weights to train into it, if they are not."""
        if not self.trainer.model_wrapped.training:
            self.trainer.model_wrapped.train()
        self.trainer.evaluation_weights.put_to_training()

    def forward_backward(self, window: Window, index: int, is_last: bool) -> torch.Tensor:
        """Compute loss and gradients of a micro-batch through `Trainer.training_step`.

        Args:
            window: The micro-batches of the update.
            index: Which of them.
            is_last: The update comes next.

        Returns:
            The loss, a scalar tensor without gradients, as its share of the update's loss.
        """
        trainer, batch = self.trainer, window.batches[index]
        trainer.current_gradient_accumulation_steps = len(window.batches)
        trainer.current_loss_share = window.share_of(index)
        model = trainer.model_wrapped
        counted = {"num_items_in_batch": window.num_items} if self._step_counts_items else {}
        loss: torch.Tensor
        if is_last:
            loss = trainer.training_step(model, batch, **counted)
        else:
            with trainer.strategy.accumulate(model):
                loss = trainer.training_step(model, batch, **counted)
        trainer.current_flos += trainer.floating_point_ops(batch)
        return loss

    def clip_gradients(self) -> None:
        """Undo the loss scaling, and clip the gradients' total norm if that is asked for."""
        trainer = self.trainer
        max_norm = trainer.args.max_grad_norm
        self.gradient_norm = None
        if max_norm > 0 and trainer.clips_gradients:
            trainer.precision.unscale(trainer.optimizer)
            clipped = trainer.precision.updated_parameters(trainer.optimizer, self.parameters)
            self.gradient_norm = trainer.strategy.clip_gradients(clipped, max_norm)

    def step_optimizer(self) -> None:
        """Step the optimizer, unless the precision finds that the gradients overflowed."""
        self.was_stepped = self.trainer.precision.step(self.trainer.optimizer) is not False
        rate = self.trainer.optimizer.param_groups[0]["lr"]
        self.learning_rate = rate.clone() if isinstance(rate, torch.Tensor) else rate

    def step_schedule(self) -> None:
        """Move the learning rate on, if the optimizer was stepped and the rate goes by updates."""
        if self.was_stepped and not self.trainer.schedule_waits_for_metrics:
            self.trainer.lr_scheduler.step()

    def step_schedule_on(self, metrics: dict[str, float]) -> None:
        """Move the learning rate on by what an evaluation gave, if it goes by that."""
        if not self.trainer.schedule_waits_for_metrics:
            return
        self.trainer.lr_scheduler.step(
            find_metric(metrics, self.trainer.args.metric_for_best_model or "loss")
        )

    def zero_gradients(self) -> None:
        """Forget the gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    def load_measurements(self, measurements: dict[str, float]) -> None:
        """Take up what `measurements` gave after the last update of the run that is resumed."""
        self.gradient_norm = measurements.get("grad_norm")
        self.learning_rate = measurements.get("learning_rate")

    def measurements(self) -> dict[str, float]:
        """The gradient norm and the learning rate of the last update, as numbers."""
        rate = self.learning_rate
        values = {
            "grad_norm": self.gradient_norm,
            "learning_rate": self.trainer.optimizer.param_groups[0]["lr"] if rate is None else rate,
        }
        return {name: _as_number(value) for name, value in values.items() if value is not None}


def _as_number(value: torch.Tensor | float) -> float:
    return value.item() if isinstance(value, torch.Tensor) else value


def find_metric(metrics: dict[str, float], name: str) -> float:
    """The metric that ``metric_for_best_model`` names.

    Raises:
        KeyError: The evaluation did not give it.
    """
    key = metric_key(name)
    if key not in metrics:
        raise KeyError(
            f"`metric_for_best_model`: {name!r} is not among what the evaluation gave: "
            f"{', '.join(sorted(metrics))}. Type one of those, or let `compute_metrics` return it."
        )
    return metrics[key]

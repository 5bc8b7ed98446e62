"""The callback that stops a run whose best metric has not become better for a while."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Any

from drivetrain.arguments.choices import IntervalStrategy
from drivetrain.callbacks.callback import TrainerCallback
from drivetrain.metrics import metric_key
from drivetrain.state import ExportableState
from drivetrain_registry import UsageError

if TYPE_CHECKING:
    from drivetrain.arguments import TrainingArguments
    from drivetrain.state import TrainerControl, TrainerState

logger = logging.getLogger(__name__)


class EarlyStoppingCallback(TrainerCallback, ExportableState):
    """Stops training when ``metric_for_best_model`` has not improved for a number of evaluations.

    Args:
        early_stopping_patience: Evaluations in a row without an improvement before training stops.
        early_stopping_threshold: How much better than the best yet a metric must be to count.
    """

    def __init__(
        self, early_stopping_patience: int = 1, early_stopping_threshold: float | None = 0.0
    ) -> None:
        self.early_stopping_patience = early_stopping_patience
        self.early_stopping_threshold = early_stopping_threshold
        self.early_stopping_patience_counter = 0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Check that there will be metrics to compare."""
        if args.metric_for_best_model is None or args.eval_strategy == IntervalStrategy.NO:
            raise UsageError(
                "`callbacks`: EarlyStoppingCallback needs evaluations and a metric to compare. "
                "Type eval_strategy='epoch', metric_for_best_model='loss'."
            )
        if not args.load_best_model_at_end:
            logger.warning(
                "EarlyStoppingCallback without `load_best_model_at_end`=True: training ends with the "
                "weights of the last update, not with the best."
            )

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Count the evaluation, and stop training if there were enough without an improvement.

        One that does not give the metric is not counted: of several evaluation sets, one gives it. A
        run where none does ends with an error that lists what there is.
        """
        if args.metric_for_best_model is None:  # an evaluation by itself, without a run to stop
            return
        value = kwargs["metrics"].get(metric_key(args.metric_for_best_model))
        if value is None:
            return
        self.check_metric_value(args, state, control, value)
        if self.early_stopping_patience_counter >= self.early_stopping_patience:
            control.should_training_stop = True

    def check_metric_value(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, metric_value: float
    ) -> None:
        """Count up unless the metric is better than the best yet by more than the threshold."""
        if state.best_metric is None:
            is_better = not math.isnan(metric_value)
        else:
            gain = metric_value - state.best_metric
            gain = gain if args.greater_is_better else -gain
            is_better = gain > 0 and gain > (self.early_stopping_threshold or 0.0)
        self.early_stopping_patience_counter = (
            0 if is_better else self.early_stopping_patience_counter + 1
        )

    def state(self) -> dict[str, Any]:
        """Patience, threshold and count, as a checkpoint keeps them."""
        return {
            "args": {
                "early_stopping_patience": self.early_stopping_patience,
                "early_stopping_threshold": self.early_stopping_threshold,
            },
            "attributes": {"early_stopping_patience_counter": self.early_stopping_patience_counter},
        }

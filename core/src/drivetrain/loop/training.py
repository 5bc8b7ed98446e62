"""The training loop. It reads from top to bottom: epochs, updates, micro-batches."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from drivetrain.arguments.choices import SaveStrategy
from drivetrain.checkpoint.random_state import capture_random_state, set_random_state
from drivetrain.data.loaders import iterate_epoch
from drivetrain.loop.engine import Engine
from drivetrain.loop.going_on import Start, catch_up, set_if_known, take_data_position, take_up
from drivetrain.loop.interruption import EvaluationInterrupted
from drivetrain.loop.meter import LossMeter
from drivetrain.loop.windows import Window, windows_of_epoch
from drivetrain.metrics import TrainOutput, speed_metrics
from drivetrain.signatures import accepted
from drivetrain_registry import UsageError

if TYPE_CHECKING:
    from drivetrain.loop.plan import LoopPlan
    from drivetrain.trainer import Trainer

logger = logging.getLogger(__name__)


class TrainingLoop:
    """One call of `Trainer.train`.

    Calls back through the trainer's methods, so that a subclass that overrides one is heard.

    Args:
        trainer: The trainer, with model, optimizer and schedule ready.
        plan: How long the run is and where it starts.
        loader: The training batches.
        ignore_keys_for_eval: Outputs of the model that evaluations leave out.
        start: What a run that resumes takes up.
    """

    def __init__(
        self,
        trainer: Trainer,
        plan: LoopPlan,
        loader: Any,
        ignore_keys_for_eval: list[str] | None = None,
        start: Start | None = None,
    ) -> None:
        self.trainer = trainer
        self.plan = plan
        self.loader = loader
        self.ignore_keys_for_eval = ignore_keys_for_eval
        self.start = start
        self.engine = Engine(trainer)
        self.meter = LossMeter(trainer.args.logging_nan_inf_filter)
        self.start_time = time.time()
        self.first_step = self.last_logged = plan.start_step
        self.epoch = plan.start_epoch
        self.updates_done = self.batches_done = 0
        self.is_epoch_over = False
        self.is_end_left = False
        self.is_evaluating = False
        self.put_off: list[str] = []
        self.epoch_random_states: dict[str, Any] | None = None

    def run(self) -> TrainOutput:
        """Train until the plan is fulfilled or the control says stop."""
        trainer = self.trainer
        self.engine.begin_training()
        self.engine.zero_gradients()
        if self.start is not None:
            take_up(self, self.start)
        self.trainer.emit("on_train_begin")
        if trainer.args.eval_on_start and self.start is None:
            with contextlib.suppress(EvaluationInterrupted):  # the first update will not begin
                self.evaluate(is_first_look=True)
        if self.start is not None:
            catch_up(self, self.start)
        for epoch in self.epochs():
            self.epoch, self.is_epoch_over = epoch, False
            self.trainer.emit("on_epoch_begin")
            self.run_epoch(epoch)
            self.trainer.emit("on_epoch_end")
            self.is_epoch_over = True
            self.flow()
            if trainer.control.should_training_stop:
                break
        return self.finish()

    def epochs(self) -> Iterable[int]:
        """The passes over the data; none for a run that is stopped or complete when it is taken up."""
        is_over = self.trainer.control.should_training_stop and not self.is_end_left
        epochs = range(0) if is_over else range(self.plan.start_epoch, self.plan.num_epochs)
        if not epochs and self.start is not None:
            set_if_known(self.start.random_states)  # no pass takes them up
        return epochs

    def run_epoch(self, epoch: int) -> None:
        """One pass over the data, or what is left of it."""
        plan = self.plan
        is_taken_up = epoch == plan.start_epoch
        self.updates_done, self.batches_done = (
            (plan.start_update, plan.start_batch) if is_taken_up else (0, 0)
        )
        for window in self.windows(epoch, self.batches_done):
            self.run_update(epoch, window)
            if self.is_stopping():
                return
        is_short = self.batches_done < min(plan.accumulation, plan.batches_per_epoch)
        if is_short and not self.is_end_left:
            self.end_early(epoch)

    def run_update(self, epoch: int, window: Window) -> None:
        """One optimizer update: forward and backward of each micro-batch, then a step."""
        trainer, engine = self.trainer, self.engine
        emit = trainer.emit
        trainer.saver.poll()
        emit("on_step_begin")
        last = -1 if window.is_cut_short else len(window.batches) - 1
        for index in range(len(window.batches)):
            loss = engine.forward_backward(window, index, index == last)
            self.meter.add(loss, trainer.state.global_step - self.last_logged)
            self.batches_done += 1
            if index != last:
                emit("on_substep_end")
                if self.is_stopping():
                    return
        if window.is_cut_short:
            return
        engine.clip_gradients()
        emit("on_pre_optimizer_step")
        engine.step_optimizer()
        emit("on_optimizer_step")
        engine.step_schedule()
        engine.zero_gradients()
        trainer.state.global_step += 1
        self.updates_done += 1
        trainer.state.epoch = epoch + self.batches_done / self.plan.batches_per_epoch
        emit("on_step_end")
        self.flow()

    def windows(self, epoch: int, start_batch: int) -> Iterator[Window]:
        """The windows of an epoch. A resumed run takes up the random numbers where they were left.

        To begin to iterate draws a number (the loading processes' seed). In the run that is resumed
        that came before the checkpoint if it lies within the epoch, and after it if at its start.
        """
        start = self.start if epoch == self.plan.start_epoch else None
        states = None if start is None else start.random_states
        if start_batch >= self.plan.batches_per_epoch or self.is_end_left:
            set_if_known(states)
            if start is not None and start.progress is not None:
                self.trainer.control.should_epoch_stop = start.progress.is_epoch_left
            return iter(())
        is_within = start_batch > 0 and states is not None
        set_if_known(start.epoch_random_states if start is not None and is_within else states)
        self.epoch_random_states = capture_random_state()
        batches = iterate_epoch(
            self.loader,
            epoch,
            start_batch,
            take_data_position(self),
            show_progress=not self.trainer.args.disable_tqdm,
            start_sample=self.plan.start_sample if start is not None else None,
        )
        if is_within:
            set_if_known(states)
        measurements = self.trainer.measurements
        if measurements is not None:
            batches = measurements.watch(batches)
        return windows_of_epoch(self.trainer, self.plan, batches, start_batch)

    def is_stopping(self) -> bool:
        """Whether the control says to leave the epoch."""
        control = self.trainer.control
        return control.should_epoch_stop or control.should_training_stop

    def end_early(self, epoch: int) -> None:
        """Stop a run whose data gives nothing more to update with.

        Raises:
            UsageError: The data gives batches, but in no pass enough of them for one update.
        """
        state = self.trainer.state
        if self.batches_done > 0:
            raise UsageError(
                f"`gradient_accumulation_steps`: {self.plan.accumulation} micro-batches make an update, and "
                f"`train_dataset` gave {self.batches_done} in a whole pass, so that no update can be made. "
                f"Type gradient_accumulation_steps={self.batches_done}."
            )
        logger.warning(
            "The training data gave no batch in epoch %d: training stops at update %d of %d.",
            epoch,
            state.global_step,
            self.plan.max_steps,
        )
        self.trainer.control.should_training_stop = True

    def flow(self) -> None:
        """Log, evaluate and save, as the control asks."""
        control = self.trainer.control
        if control.should_log and self.trainer.state.global_step > self.last_logged:
            self.log()
        if self.trainer.control.should_evaluate:
            self.evaluate_or_put_off()
        if self.trainer.control.should_save:
            self.trainer.save_checkpoint()
            self.trainer.control.should_save = False  # `on_save` may come later
            self.put_off = []

    def evaluate_or_put_off(self) -> None:
        """Evaluate; if that is interrupted, have a checkpoint saved whose run begins with the evaluation."""
        trainer = self.trainer
        num_logged, was_to_be_saved = len(trainer.state.log_history), trainer.control.should_save
        random_states = capture_random_state()
        try:
            self.evaluate()
        except EvaluationInterrupted:
            self.engine.begin_training()
            del trainer.state.log_history[num_logged:]
            set_random_state(random_states)
            self.put_off = ["evaluate", "save"] if was_to_be_saved else ["evaluate"]
            trainer.control.should_save = True

    def log(self) -> None:
        """Log the mean loss since the last log, the gradient norm and the rate."""
        trainer, step = self.trainer, self.trainer.state.global_step
        before = self.meter.num_non_finite
        with trainer.reading_from_device():
            loss = self.meter.take()
            measured = self.engine.measurements()
        logs = {"loss": loss / (step - self.last_logged), **measured}
        if self.meter.num_non_finite > before:
            logs["non_finite_losses"] = self.meter.num_non_finite - before
        self.last_logged = step
        trainer.store_flos()
        trainer.call_log(logs, self.start_time)

    def evaluate(self, is_first_look: bool = False) -> None:
        """Evaluate; note whether the model is the best yet; step a schedule that waits for metrics."""
        trainer = self.trainer
        keys = accepted(trainer.evaluate, ignore_keys=self.ignore_keys_for_eval)
        self.is_evaluating = True
        try:
            with trainer.evaluation_weights.in_use():  # for an `evaluate` of the user's own, too
                metrics = trainer.evaluate(**keys)
        finally:
            self.is_evaluating = False
        trainer.hooks.call("on_metrics", metrics=metrics)
        self.engine.begin_training()
        if is_first_look:
            return
        self.engine.step_schedule_on(metrics)
        is_best = trainer.note_best(metrics)
        if trainer.args.save_strategy == SaveStrategy.BEST:
            trainer.control.should_save = is_best
        elif is_best and trainer.args.load_best_model_at_end:
            # Whatever the interval of saving is: the best has to be there at the end.
            trainer.control.should_save = True

    def finish(self) -> TrainOutput:
        """Log what training as a whole was like, and load the best model if that is asked for."""
        trainer, state = self.trainer, self.trainer.state
        self.meter.take()
        num_steps = state.global_step - self.first_step
        train_loss = self.meter.total / max(num_steps, 1)
        num_samples = self.plan.num_train_samples * num_steps / max(state.max_steps, 1)
        metrics = speed_metrics("train", self.start_time, num_samples, num_steps)
        trainer.store_flos()
        metrics["total_flos"] = state.total_flos
        metrics["train_loss"] = train_loss
        if self.meter.num_non_finite:
            metrics["non_finite_losses"] = self.meter.num_non_finite
        trainer.hooks.call("on_stage_end", stage="train", metrics=metrics)
        trainer.call_log(metrics)
        if self.meter.num_non_finite:
            logger.warning("%d micro-batches had a loss that is not finite.", self.meter.num_non_finite)
        trainer.saver.finish()
        trainer.evaluation_weights.put_to_use()
        trainer.finish_training()
        self.trainer.emit("on_train_end")
        return TrainOutput(state.global_step, train_loss, metrics)

"""`preemption_signals`: at a signal, finish the update, save, and leave with an exit code that says so."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, NoReturn

from torch.utils.data import DataLoader

from drivetrain.features.signals import InLoadingProcess, SignalWatch
from drivetrain.hookspecs import hookimpl
from drivetrain.loop.interruption import PREEMPTED_EXIT_CODE, EvaluationInterrupted, Preempted
from drivetrain.plugin.part import Plugin

if TYPE_CHECKING:
    from drivetrain.arguments import TrainingArguments
    from drivetrain.plugin.reporter import Outcome
    from drivetrain.state import TrainerControl, TrainerState
    from drivetrain.trainer import Trainer

logger = logging.getLogger(__name__)

_ANNOUNCEMENT = (
    "finishing the update, saving a checkpoint, then leaving. A second signal ends the process at once."
)
_MAX_SAVES = 2  # that are asked for: one that fails is tried again after the next update


class Preemption(Plugin):
    """Lets a run be taken off its machine: it saves between two updates and raises `Preempted`.

    A run whose last update is done goes on to its end instead. An evaluation that training asked for is
    broken off, and made up for when the run is resumed. Where there are several processes all leave if one
    of them gets a signal.
    """

    def __init__(self, args: TrainingArguments, options: Any = None) -> None:
        super().__init__(args, options)
        self._watch = SignalWatch(args.preemption_signals, _ANNOUNCEMENT)
        self._start_step = 0
        self._saved_step: int | None = None
        self._num_asked = 0
        self._is_evaluation_put_off = False
        self._is_alone = False

    @hookimpl
    def on_stage_begin(self, trainer: Trainer, stage: str) -> None:
        """Watch for the signals while training is prepared and under way."""
        if stage == "train":
            self._saved_step, self._num_asked, self._is_evaluation_put_off = None, 0, False
            self._is_alone = trainer.strategy.world_size == 1
            self._watch.begin()

    @hookimpl
    def on_train_begin(self, trainer: Trainer, state: TrainerState) -> None:
        """Note where the run starts: there is nothing to save there."""
        self._start_step = state.global_step
        self._shield(trainer.callback_handler.train_dataloader)

    @hookimpl
    def on_evaluation_begin(self, trainer: Trainer) -> None:
        """Let an evaluation within training load its data undisturbed, too."""
        if trainer.is_in_train:
            self._shield(trainer.callback_handler.eval_dataloader)

    @hookimpl
    def on_epoch_begin(self, trainer: Trainer) -> None:
        """Leave before an epoch, and before data is skipped to resume within one."""
        if self._is_asked(trainer):
            self._leave_unless_lost(trainer)

    @hookimpl
    def on_step_begin(self, trainer: Trainer) -> None:
        """Leave before an update."""
        if self._is_asked(trainer):
            self._leave_unless_lost(trainer)

    @hookimpl
    def on_step_end(self, trainer: Trainer, state: TrainerState, control: TrainerControl) -> None:
        """Ask for a checkpoint, unless the run ends here anyway."""
        if self._is_asked(trainer) and state.global_step < state.max_steps:
            self._ask_for_save(control)

    @hookimpl
    def on_prediction_step(self, trainer: Trainer) -> None:
        """Break off an evaluation of the loop: it is made up for when the run goes on."""
        loop = trainer.training_loop
        if loop is None or not loop.is_evaluating or not self._is_asked(trainer):
            return
        if not self._is_lost(trainer):
            self._leave(trainer)
        self._is_evaluation_put_off = True
        raise EvaluationInterrupted

    @hookimpl
    def on_epoch_end(self, trainer: Trainer, state: TrainerState, control: TrainerControl) -> None:
        """Leave, and do what comes at the epoch's end after resuming; or ask for a checkpoint."""
        is_at_end = state.global_step >= state.max_steps or control.should_training_stop
        if self._is_asked(trainer) and (self._is_evaluation_put_off or not is_at_end):
            self._leave_unless_lost(trainer)
            self._ask_for_save(control)

    @hookimpl
    def on_save(self, state: TrainerState) -> None:
        """Note which update has a checkpoint."""
        self._saved_step = state.global_step

    @hookimpl
    def on_stage_end(self, trainer: Trainer, stage: str) -> None:
        """Leave if the evaluation after the last update is still to be made up for."""
        if stage == "train" and self._is_evaluation_put_off:
            self._leave(trainer)

    @hookimpl
    def on_run_end(self, trainer: Trainer, outcome: Outcome) -> None:
        """Let signals do again what they did before."""
        if self._watch.noted is not None and outcome == "finished":
            logger.warning("%s came when training was all but done: it is finished.", self._watch.noted)
        self._watch.end()

    def _is_asked(self, trainer: Trainer) -> bool:
        """Whether a process got a signal. All agree, for none can go on without the others."""
        is_noted = self._watch.noted is not None  # asked twice an update, so no gathering of one's own
        return is_noted if self._is_alone else any(trainer.strategy.gather(is_noted))

    def _ask_for_save(self, control: TrainerControl) -> None:
        control.should_save = True
        self._num_asked += 1

    def _is_lost(self, trainer: Trainer) -> bool:
        """Whether leaving now would lose updates: they were not done before, and there is no checkpoint."""
        trainer.wait_for_saves()
        return trainer.state.global_step not in (self._start_step, self._saved_step)

    def _leave_unless_lost(self, trainer: Trainer) -> None:
        """Leave, unless there will be a save that is worth waiting for."""
        has_tried = self._num_asked >= _MAX_SAVES or self._is_evaluation_put_off
        if has_tried or not self._is_lost(trainer):
            self._leave(trainer)

    def _leave(self, trainer: Trainer) -> NoReturn:
        is_lost, state = self._is_lost(trainer), trainer.state
        code = 1 if is_lost else PREEMPTED_EXIT_CODE
        name = self._watch.noted or "A signal to another process"
        how_to_go_on = _how_to_go_on(trainer, is_saved=state.global_step == self._saved_step)
        message = (
            f"{name}: leaving after update {state.global_step} of {state.max_steps}, with exit code {code}. "
            f"{how_to_go_on}"
        )
        logger.log(logging.ERROR if is_lost else logging.WARNING, "%s", message)
        raise Preempted(message, code)

    def _shield(self, loader: Any) -> None:
        """Keep the loading processes of a loader from ending at a signal that reaches them, too."""
        if not self._watch.is_watching or not isinstance(loader, DataLoader):
            return
        if not isinstance(loader.worker_init_fn, InLoadingProcess):
            loader.worker_init_fn = InLoadingProcess(self._watch.names, loader.worker_init_fn)


def _how_to_go_on(trainer: Trainer, is_saved: bool) -> str:
    last_good = trainer.saver.last_good
    if last_good is None:
        return "There is no checkpoint: start again in the same way."
    which = "The checkpoint is" if is_saved else "There is no newer checkpoint than"
    command = "start again with trainer.train(resume_from_checkpoint=True)"
    if trainer.args.save_only_model:
        command += " and allow_partial_resume=True: it is of the model alone (`save_only_model`)"
    return f"{which} {last_good}. To go on, {command}."

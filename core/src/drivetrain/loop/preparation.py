"""What comes before the first update: model, data, plan, optimizer and schedule, in their state."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drivetrain.arguments.choices import SaveStrategy
from drivetrain.checkpoint.layout import STATE, list_checkpoints
from drivetrain.checkpoint.progress import read_progress
from drivetrain.checkpoint.random_state import read_random_state, seed_by
from drivetrain.later import Later
from drivetrain.loop.going_on import Start
from drivetrain.loop.plan import LoopPlan, make_plan
from drivetrain.loop.training import TrainingLoop
from drivetrain.optimization import describe_optimizer
from drivetrain.state import TrainerState
from drivetrain_registry import UsageError

if TYPE_CHECKING:
    from drivetrain.arguments import TrainingArguments
    from drivetrain.callbacks import restoring
    from drivetrain.checkpoint import reading, resuming
    from drivetrain.trainer import Trainer
else:
    reading = Later("drivetrain.checkpoint.reading")
    restoring = Later("drivetrain.callbacks.restoring")
    resuming = Later("drivetrain.checkpoint.resuming")

logger = logging.getLogger(__name__)


def choose_checkpoint(resume_from: str | bool | Path | None, args: TrainingArguments) -> Path | None:
    """The checkpoint that `Trainer.train` was asked to resume from; None to start from the beginning."""
    if not resume_from:
        if resume_from is not False and args.resume_from_checkpoint:
            logger.warning(
                "`resume_from_checkpoint`: %r is for scripts to pass on, and `train` was called without it: "
                "training starts from the beginning. Type "
                "trainer.train(resume_from_checkpoint=args.resume_from_checkpoint).",
                args.resume_from_checkpoint,
            )
        return None
    return _find_together(args, partial(reading.find_checkpoint, resume_from, Path(args.output_dir)))


def _find_together(args: TrainingArguments, find: Callable[..., Path]) -> Path:
    """Let the process that saves find the checkpoint, for others that would look at the same folder."""
    answer: tuple[Path | None, str] = (None, "")
    if args.should_save:
        try:
            answer = find(args.allow_partial_resume), ""
        except UsageError as error:
            answer = None, str(error)
    first = args.process_index - args.local_process_index if args.save_on_each_node else 0
    found, reason = args.strategy_plugin.gather(answer)[first]
    if found is None:
        raise UsageError(reason)
    return Path(found)


def prepare_training(
    trainer: Trainer, checkpoint: Path | None, trial: Any, ignore_keys_for_eval: list[str] | None
) -> TrainingLoop:
    """Make what a run needs, in the state that it starts from."""
    if trainer.model_init is not None:
        _make_model_again(trainer, trial)
    trainer.alter_model_once()
    if checkpoint is not None:
        resuming.read_model(trainer.model, checkpoint, trainer.args.low_cpu_mem_usage)
    trainer.state = TrainerState() if checkpoint is None else resuming.read_state(checkpoint)
    is_known_how_far = checkpoint is not None and (checkpoint / STATE).is_file()
    start = _read_start(trainer, checkpoint) if checkpoint is not None and is_known_how_far else None
    loader = trainer.get_train_dataloader()
    trainer.overwritten_checkpoints = []
    trainer.saver.begin_run(checkpoint)
    if checkpoint is None:
        note_earlier_runs(trainer)
    elif trainer.args.restore_callback_states_from_checkpoint:
        saved = restoring.restore_callbacks(trainer.callback_handler, trainer.state)
        trainer.control = saved or trainer.control
        trainer.control.should_save = False  # as it was when this checkpoint was written
    progress = None if start is None else start.progress
    plan = make_plan(trainer, loader, trainer.state.global_step, progress)
    _begin_state(trainer, plan)
    if checkpoint is not None and not resuming.has_optimizer_state(checkpoint):
        _empty_optimizer(trainer)
    _make_optimization(trainer, plan)
    loop = trainer.training_loop = TrainingLoop(trainer, plan, loader, ignore_keys_for_eval, start)
    if checkpoint is not None:
        resuming.report_changes(trainer, checkpoint)
        resuming.read_optimization(trainer, checkpoint)
    handler = trainer.callback_handler
    handler.model, handler.train_dataloader = trainer.model, loader
    handler.optimizer, handler.lr_scheduler = trainer.optimizer, trainer.lr_scheduler
    _tell(trainer, plan, checkpoint)
    return loop


def _read_start(trainer: Trainer, checkpoint: Path) -> Start:
    """What the loop takes up from a checkpoint."""
    args = trainer.args
    states = read_random_state(checkpoint, args)
    return Start(
        progress=read_progress(checkpoint),
        random_states=states,
        epoch_random_states=None if states is None else states.pop("epoch_begin", None),
        data_position=resuming.read_position(checkpoint, args),
        load_gradients=partial(resuming.read_gradients, trainer, checkpoint),
    )


def _make_model_again(trainer: Trainer, trial: Any) -> None:
    seed_by(trainer.args)
    trainer.use_model(trainer.call_model_init(trial))
    trainer.optimizer = trainer.lr_scheduler = None  # type: ignore[assignment]


def take_up_batch_size(trainer: Trainer, checkpoint: Path | None) -> None:
    """Go on with the batch size that was found to fit, if the run that is resumed looked for one."""
    if checkpoint is None or not trainer.args.auto_find_batch_size:
        return
    if not (checkpoint / STATE).is_file():
        return
    saved = resuming.read_state(checkpoint).train_batch_size
    if saved is not None and saved < trainer._train_batch_size:
        logger.info("Going on with %d samples a micro-batch, which were found to fit.", saved)
        trainer._train_batch_size = saved


def note_earlier_runs(trainer: Trainer) -> None:
    """Say that the output folder holds checkpoints of another run, or note them to be overwritten."""
    output_dir = Path(trainer.args.output_dir)
    earlier = list_checkpoints(output_dir)
    trainer.overwritten_checkpoints = earlier if trainer.args.overwrite_output_dir else []
    is_meant = trainer.args.overwrite_output_dir or trainer.args.save_strategy == SaveStrategy.NO
    could_be_its_own, trainer.has_trained = trainer.has_trained, True
    if earlier and not is_meant and not could_be_its_own:
        logger.warning(
            "`output_dir`: %s holds %d checkpoints of another run (the last is %s), and this one starts from "
            "the beginning. To go on with that one, type trainer.train(resume_from_checkpoint=True); "
            "to delete its checkpoints once this run has saved its first, overwrite_output_dir=True.",
            output_dir,
            len(earlier),
            earlier[-1].name,
        )


def _begin_state(trainer: Trainer, plan: LoopPlan) -> None:
    state, args = trainer.state, trainer.args
    state.max_steps = plan.max_steps
    state.num_train_epochs = plan.num_epochs
    state.train_batch_size = trainer._train_batch_size
    state.compute_steps(args, plan.max_steps)
    state.is_local_process_zero = trainer.is_local_process_zero()
    state.is_world_process_zero = trainer.is_world_process_zero()
    trainer.current_flos = 0.0


def _empty_optimizer(trainer: Trainer) -> None:
    """Have an optimizer without the state of an earlier `train`, where the checkpoint has none."""
    trainer.evaluation_weights.forget()
    trainer.forget_optimizer()
    if trainer.optimizer is not None:  # it was given
        trainer.optimizer.state.clear()


def _make_optimization(trainer: Trainer, plan: LoopPlan) -> None:
    """Optimizer and schedule, with what plugins make of the optimizer and the strategy of both.

    An optimizer lives on from one `train` to the next; a schedule does not, for it spans one run.
    """
    if not trainer.was_given_schedule:
        trainer.lr_scheduler = None
    trainer._is_optimizer_altered = False
    trainer.create_optimizer_and_scheduler(num_training_steps=plan.max_steps)
    trainer.alter_optimizer_once()  # where a subclass made both in its own way
    _begin_updates_in_backward(trainer)
    trainer.model_wrapped = trainer.strategy.wrap_model(trainer.model)
    trainer.replace_optimizer(trainer.strategy.wrap_optimizer(trainer.optimizer))


def _begin_updates_in_backward(trainer: Trainer) -> None:
    """Have this trainer's optimizer, and none of an earlier one, update the model inside backward."""
    layerwise = sys.modules.get("drivetrain.plugin.layerwise")  # without it there is none
    if layerwise is not None:
        layerwise.begin(trainer)


def end_updates_in_backward(trainer: Trainer) -> None:
    """A run is over: leave the model's backward to whoever trains it next."""
    layerwise = sys.modules.get("drivetrain.plugin.layerwise")
    if layerwise is not None:
        layerwise.end(trainer)


def _tell(trainer: Trainer, plan: LoopPlan, checkpoint: Path | None) -> None:
    logger.info(
        "Training: %d parameters, %d samples, %d updates of %d samples (%d a micro-batch, %d micro-batches).",
        trainer.get_num_trainable_parameters(),
        plan.num_examples,
        plan.max_steps,
        plan.total_batch_size,
        trainer._train_batch_size,
        plan.accumulation,
    )
    logger.info("%s", describe_optimizer(trainer))
    if checkpoint is not None:
        logger.info(
            "Resuming from %s: update %d, in epoch %d.", checkpoint, plan.start_step, plan.start_epoch
        )

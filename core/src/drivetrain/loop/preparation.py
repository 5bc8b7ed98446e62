"""What comes before the first update: model, data, plan, optimizer and schedule, in their state."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drivetrain.checkpoint import run_checkpoints
from drivetrain.checkpoint.random_state import set_seed
from drivetrain.checkpoint.reading import find_checkpoint
from drivetrain.loop.plan import LoopPlan, make_plan
from drivetrain.loop.training import TrainingLoop
from drivetrain.state import TrainerState

if TYPE_CHECKING:
    from drivetrain.arguments import TrainingArguments
    from drivetrain.trainer import Trainer

logger = logging.getLogger(__name__)


def choose_checkpoint(resume_from: str | bool | Path | None, args: TrainingArguments) -> Path | None:
    """The checkpoint that `Trainer.train` was asked to resume from; None to start from the beginning."""
    if resume_from is None or resume_from is False:
        return None
    return find_checkpoint(resume_from, Path(args.output_dir))


def prepare_training(
    trainer: Trainer, checkpoint: Path | None, trial: Any, ignore_keys_for_eval: list[str] | None
) -> TrainingLoop:
    """Make what a run needs, in the state that it starts from."""
    if trainer.model_init is not None:
        _make_model_again(trainer, trial)
    trainer.alter_model_once()
    if checkpoint is not None:
        run_checkpoints.read_model(trainer.model, checkpoint)
    loader = trainer.get_train_dataloader()
    trainer.state = TrainerState() if checkpoint is None else run_checkpoints.read_state(checkpoint)
    plan = make_plan(trainer.args, loader, trainer.state.global_step)
    _begin_state(trainer, plan)
    _make_optimization(trainer, plan)
    if checkpoint is not None:
        run_checkpoints.read_optimization(trainer, checkpoint)
    handler = trainer.callback_handler
    handler.model, handler.train_dataloader = trainer.model, loader
    handler.optimizer, handler.lr_scheduler = trainer.optimizer, trainer.lr_scheduler
    _tell(plan, trainer.args, checkpoint)
    return TrainingLoop(trainer, plan, loader, ignore_keys_for_eval, checkpoint)


def _make_model_again(trainer: Trainer, trial: Any) -> None:
    set_seed(trainer.args.seed)
    trainer.use_model(trainer.call_model_init(trial))
    trainer.optimizer = trainer.lr_scheduler = None  # type: ignore[assignment]


def _begin_state(trainer: Trainer, plan: LoopPlan) -> None:
    state, args = trainer.state, trainer.args
    state.max_steps = plan.max_steps
    state.num_train_epochs = plan.num_epochs
    state.train_batch_size = args.train_batch_size
    state.compute_steps(args, plan.max_steps)
    state.is_local_process_zero = trainer.is_local_process_zero()
    state.is_world_process_zero = trainer.is_world_process_zero()
    trainer.current_flos = 0.0


def _make_optimization(trainer: Trainer, plan: LoopPlan) -> None:
    """Optimizer and schedule, with what plugins make of the optimizer and the strategy of both.

    An optimizer lives on from one `train` to the next; a schedule does not, for it spans one run.
    """
    if not trainer.was_given_schedule:
        trainer.lr_scheduler = None
    trainer.create_optimizer()
    trainer.optimizer = trainer.hooks.alter("alter_optimizer", "optimizer", optimizer=trainer.optimizer)
    trainer.create_scheduler(num_training_steps=plan.max_steps, optimizer=trainer.optimizer)
    trainer.model_wrapped = trainer.strategy.wrap_model(trainer.model)
    trainer.optimizer = trainer.strategy.wrap_optimizer(trainer.optimizer)


def _tell(plan: LoopPlan, args: TrainingArguments, checkpoint: Path | None) -> None:
    logger.info(
        "Training: %d samples, %d updates of %d samples (%d a micro-batch, %d micro-batches), optimizer %s.",
        plan.num_examples,
        plan.max_steps,
        plan.total_batch_size,
        args.per_device_train_batch_size,
        plan.accumulation,
        args.optim,
    )
    if checkpoint is not None:
        logger.info(
            "Resuming from %s: update %d, in epoch %d.", checkpoint, plan.start_step, plan.start_epoch
        )

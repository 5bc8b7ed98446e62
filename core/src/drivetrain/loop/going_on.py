"""What a checkpoint keeps of a training loop, and how a loop that resumes goes on with it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from drivetrain.checkpoint.progress import Progress
from drivetrain.checkpoint.random_state import capture_random_state, set_random_state
from drivetrain.data.positions import position_of

if TYPE_CHECKING:
    from drivetrain.loop.training import TrainingLoop


@dataclass
class Start:
    """What a run that resumes takes up, besides the states of model, optimizer and schedule.

    Attributes:
        progress: How far it was; None if the checkpoint does not say it.
        random_states: The generators' states when the checkpoint was saved; None if it has none.
        epoch_random_states: Those when the pass over the data began.
        data_position: Where it was in data that keeps that itself.
        load_gradients: Reads gradients that waited for their update.
    """

    progress: Progress | None
    random_states: dict[str, Any] | None
    epoch_random_states: dict[str, Any] | None
    data_position: dict[str, Any] | None
    load_gradients: Callable[[], None]


def progress_of(loop: TrainingLoop) -> Progress:
    """How far the run is, for a checkpoint of this update."""
    plan, control = loop.plan, loop.trainer.control
    is_complete = loop.trainer.state.global_step >= plan.max_steps
    return Progress(
        epoch=loop.epoch,
        updates=loop.updates_done,
        samples=_samples_done(loop),
        is_epoch_over=loop.is_epoch_over,
        is_epoch_left=control.should_epoch_stop,
        is_stopping=control.should_training_stop and not is_complete,
        put_off=loop.put_off,
        samples_per_update=plan.total_batch_size,
        is_resized=plan.is_resized,
        num_examples=plan.num_examples,
        first_step=loop.first_step,
        last_logged=loop.last_logged,
        losses=loop.meter.state(),
        measurements=loop.engine.measurements(),
        runtime=time.time() - loop.start_time,
    )


def _samples_done(loop: TrainingLoop) -> int:
    """Samples of the pass that were trained on, over all processes."""
    plan = loop.plan
    if loop.epoch != plan.start_epoch or plan.start_sample is None:
        return loop.updates_done * plan.total_batch_size
    before = plan.start_sample * loop.trainer.args.world_size
    return before + (loop.updates_done - plan.start_update) * plan.total_batch_size


def random_states_of(loop: TrainingLoop) -> dict[str, Any]:
    """The states of this process's generators, now and when the pass over the data began."""
    states = capture_random_state()
    if loop.epoch_random_states is not None and not loop.is_epoch_over:
        states["epoch_begin"] = loop.epoch_random_states
    return states


def data_position_of(loop: TrainingLoop) -> dict[str, Any] | None:
    """Where the pass is in data that keeps that itself; at its end where the next one begins."""
    return position_of(loop.loader)


def take_data_position(loop: TrainingLoop) -> dict[str, Any] | None:
    """Where the run that is resumed was in its data, for the first pass that reads any."""
    if loop.start is None:
        return None
    position, loop.start.data_position = loop.start.data_position, None
    return position


def take_up(loop: TrainingLoop, start: Start) -> None:
    """Go on with what a checkpoint has added up."""
    start.load_gradients()
    progress = start.progress
    if progress is None:
        return
    loop.first_step, loop.last_logged = progress.first_step, progress.last_logged
    loop.start_time -= progress.runtime
    if progress.losses:
        loop.meter.load_state(progress.losses)
    loop.engine.load_measurements(progress.measurements)
    loop.is_epoch_over = progress.is_epoch_over
    loop.epoch, loop.updates_done = progress.epoch, progress.updates
    loop.epoch_random_states = start.epoch_random_states


def catch_up(loop: TrainingLoop, start: Start) -> None:
    """Do what should have been done before the checkpoint was saved."""
    trainer, progress = loop.trainer, start.progress
    takes_up_stop = trainer.args.restore_callback_states_from_checkpoint
    is_stopped = progress is not None and progress.is_stopping and takes_up_stop
    if is_stopped or trainer.state.global_step >= loop.plan.max_steps:
        trainer.control.should_training_stop = True
        loop.is_end_left = progress is not None and not loop.is_epoch_over
    if progress is None:
        return
    if progress.put_off:
        set_if_known(start.random_states)
        trainer.control.should_evaluate = "evaluate" in progress.put_off
        trainer.control.should_save = "save" in progress.put_off
        loop.flow()
        start.random_states = capture_random_state()


def set_if_known(random_states: dict[str, Any] | None) -> None:
    """Set this process's generators, if it is known to what."""
    if random_states is not None:
        set_random_state(random_states)

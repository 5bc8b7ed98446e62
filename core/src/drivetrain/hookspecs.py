"""Every hook that a run calls, by phase. This is the page that authors of plugins read.

A part that an argument names (an optimizer, a precision, a plugin of ``plugins=[...]``) implements a
hook by having a method of its name, marked with `hookimpl`, that takes any of the hook's parameters::

    class StopOnNan(Plugin):
        @hookimpl
        def on_log(self, logs, control):
            if math.isnan(logs.get("loss", 0.0)):
                control.should_training_stop = True

Parts are called in this order: strategy, precision, optimizer, scheduler, then ``plugins`` in the
order given, then reporters; after them the callbacks, in the order given. (pluggy's ``tryfirst`` and
``trylast`` move one to the front or to the end.) A callback may implement hooks, too: a method of it
that is marked is called as a hook, and not as a callback. A hook is called on every process unless it
says otherwise. What ``on_...`` hooks return is not used; they act through ``control``. A parameter is
passed if it is named: ``**kwargs`` gets nothing. A hook that nobody implements costs nothing.

Parameters that many hooks have: ``trainer`` is the `Trainer`; ``args``, ``state`` and ``control``
are its `TrainingArguments`, `TrainerState` and `TrainerControl`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    import torch
    from torch import nn
    from torch.optim import Optimizer

    from drivetrain.arguments import TrainingArguments
    from drivetrain.plugin.reporter import Outcome
    from drivetrain.state import TrainerControl, TrainerState
    from drivetrain.trainer import Trainer

hookspec = pluggy.HookspecMarker("drivetrain")
hookimpl = pluggy.HookimplMarker("drivetrain")


# -- construction: what goes in comes out altered --------------------------------------------------
#
# Each implementation gets what the one before it returned. None leaves it as it is.


@hookspec
def alter_model(trainer: Trainer, model: nn.Module) -> nn.Module | None:
    """Change or replace the model before it is trained or evaluated.

    Called once for each model, when it is first trained or evaluated: before a checkpoint's weights are
    loaded into it (they are those of the altered model) and before the optimizer is made. By default the
    model is left as it is.
    """


@hookspec
def alter_optimizer(trainer: Trainer, optimizer: Optimizer) -> Optimizer | None:
    """Change or replace the optimizer that was made, before the schedule is attached to it.

    Called once at the start of each `train`. By default it is left as it is.
    """


@hookspec
def alter_batch(trainer: Trainer, batch: dict[str, Any]) -> dict[str, Any] | None:
    """Change a training micro-batch that is on its device already, before its forward pass.

    Called for each micro-batch. By default it is left as it is.
    """


@hookspec
def alter_loss(trainer: Trainer, loss: torch.Tensor, outputs: Any) -> torch.Tensor | None:
    """Change the loss of a training micro-batch before its backward pass.

    ``loss`` is a scalar tensor that carries gradients, not yet divided by the number of
    micro-batches of the update; ``outputs`` is what the model returned, for losses that add a term
    on logits or hidden states (None where an overridden `Trainer.compute_loss` does not return it).
    Called for each micro-batch. By default it is left as it is.
    """


@hookspec
def alter_logs(trainer: Trainer, logs: dict[str, Any]) -> dict[str, Any] | None:
    """Add values to what is logged, or change them, before they are recorded and anyone is told.

    Called for each log, on every process. By default nothing is added.
    """


@hookspec
def on_report(trainer: Trainer, values: Mapping[str, Any]) -> None:
    """`Trainer.report` was given values that go to the reporters, and into no log."""


# -- stages: what a whole training, evaluation or prediction took ------------------------------------


@hookspec
def on_stage_begin(trainer: Trainer, stage: str) -> None:
    """A stage begins: ``"train"``, ``"eval"`` or ``"test"`` (the prefix of its metrics).

    Evaluations within a training are stages of their own, inside of it.
    """


@hookspec
def on_stage_end(trainer: Trainer, stage: str, metrics: dict[str, float]) -> None:
    """A stage ended with these metrics, which are logged next; the place to add to them."""


@hookspec
def on_stage_failed(trainer: Trainer, stage: str, error: BaseException) -> None:
    """An evaluation or a prediction was ended by an error: the place to let go of what was begun.

    For a training that is `on_run_end`. Every implementation is called, even if one before it raises.
    """


# -- lifecycle: the published events ---------------------------------------------------------------


@hookspec
def on_init_end(
    trainer: Trainer, args: TrainingArguments, state: TrainerState, control: TrainerControl
) -> None:
    """The trainer was made: its parts and callbacks exist, and nothing was trained or evaluated yet."""


@hookspec
def on_train_begin(
    trainer: Trainer, args: TrainingArguments, state: TrainerState, control: TrainerControl
) -> None:
    """Model, optimizer, schedule and loader exist, a checkpoint was loaded; the first epoch is next."""


@hookspec
def on_train_end(
    trainer: Trainer, args: TrainingArguments, state: TrainerState, control: TrainerControl
) -> None:
    """The last update is done, the final metrics are logged, and the best model is loaded if asked for."""


@hookspec
def on_epoch_begin(
    trainer: Trainer, args: TrainingArguments, state: TrainerState, control: TrainerControl
) -> None:
    """An epoch begins, or the rest of one after resuming."""


@hookspec
def on_epoch_end(
    trainer: Trainer, args: TrainingArguments, state: TrainerState, control: TrainerControl
) -> None:
    """An epoch ended or was stopped. May ask for a log, an evaluation or a save through ``control``."""


@hookspec
def on_step_begin(
    trainer: Trainer, args: TrainingArguments, state: TrainerState, control: TrainerControl
) -> None:
    """An update begins; its micro-batches are at hand."""


@hookspec
def on_backward_begin(trainer: Trainer) -> None:
    """The loss of a training micro-batch is computed; its gradients are next."""


@hookspec
def on_backward_end(trainer: Trainer) -> None:
    """The gradients of a training micro-batch are computed."""


@hookspec
def on_substep_end(
    trainer: Trainer, args: TrainingArguments, state: TrainerState, control: TrainerControl
) -> None:
    """A micro-batch that is not the last of its update was computed."""


@hookspec
def on_pre_optimizer_step(
    trainer: Trainer, args: TrainingArguments, state: TrainerState, control: TrainerControl
) -> None:
    """The gradients of an update are complete and clipped; the optimizer is about to step."""


@hookspec
def on_optimizer_step(
    trainer: Trainer, args: TrainingArguments, state: TrainerState, control: TrainerControl
) -> None:
    """The optimizer stepped; the gradients are still there and the schedule has not moved."""


@hookspec
def on_step_end(
    trainer: Trainer, args: TrainingArguments, state: TrainerState, control: TrainerControl
) -> None:
    """An update is done. May ask for a log, an evaluation, a save or a stop through ``control``."""


@hookspec
def on_log(
    trainer: Trainer,
    args: TrainingArguments,
    state: TrainerState,
    control: TrainerControl,
    logs: dict[str, Any],
) -> None:
    """Values were logged; they are the last of ``state.log_history`` already."""


@hookspec
def on_evaluation_begin(trainer: Trainer) -> None:
    """An evaluation or a prediction is about to compute its first batch; the model is in evaluation mode.

    Not called for one that is called from within another.

    The place to put other weights into the model (averaged ones, say) for the time of it.
    """


@hookspec
def on_evaluation_end(trainer: Trainer) -> None:
    """An evaluation or a prediction has computed its last batch, or failed on the way.

    The place to put back what `on_evaluation_begin` took out. Every implementation is called, even if one
    before it raises.
    """


@hookspec
def on_prediction_step(
    trainer: Trainer, args: TrainingArguments, state: TrainerState, control: TrainerControl
) -> None:
    """A batch of an evaluation or prediction was computed."""


@hookspec
def on_evaluate(
    trainer: Trainer,
    args: TrainingArguments,
    state: TrainerState,
    control: TrainerControl,
    metrics: dict[str, float],
) -> None:
    """An evaluation ended, with these metrics."""


@hookspec
def on_metrics(trainer: Trainer, metrics: dict[str, float]) -> None:
    """An evaluation that training asked for is done, with all its data sets.

    ``metrics`` is what `Trainer.evaluate` returned. Unlike `on_evaluate` it comes once, with what a
    subclass added, and not for evaluations that a script or a callback calls by itself.
    """


@hookspec
def on_predict(
    trainer: Trainer,
    args: TrainingArguments,
    state: TrainerState,
    control: TrainerControl,
    metrics: dict[str, float],
) -> None:
    """A prediction ended, with these metrics."""


@hookspec
def on_save(
    trainer: Trainer, args: TrainingArguments, state: TrainerState, control: TrainerControl
) -> None:
    """A checkpoint was written and is whole: ``output_dir/checkpoint-{state.global_step}``.

    With ``async_save`` that is some updates later, and ``state`` is the one that is in the checkpoint.
    """


@hookspec
def on_push_begin(
    trainer: Trainer, args: TrainingArguments, state: TrainerState, control: TrainerControl
) -> None:
    """A push to a model hub is about to begin. Called on the process that pushes, by the plugin that does."""


@hookspec
def on_run_end(trainer: Trainer, outcome: Outcome, error: BaseException | None) -> None:
    """`train` is being left, however it ended: the place to close files and connections.

    ``outcome`` is ``"finished"``, ``"failed"`` or ``"interrupted"`` (`Preempted` among it); ``error`` is the
    exception that leaves `train`, if one does. Every implementation is called, even if one before it raises.
    """


# -- checkpoints -----------------------------------------------------------------------------------


@hookspec
def write_checkpoint(trainer: Trainer, folder: Path) -> None:
    """Add files to a checkpoint that is being written.

    ``folder`` is not yet the checkpoint: the state is written into it, it is flushed, listed in the
    manifest and renamed after the last implementation returned. With ``async_save`` the files of model and
    optimizer are not there yet. Called on the process that saves.
    """


@hookspec
def read_checkpoint(trainer: Trainer, folder: Path) -> None:
    """Take back what `write_checkpoint` added, when a run resumes from the checkpoint ``folder``.

    Called after model, optimizer and schedule have their state.
    """

"""What is said when a run begins, and when it is over."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from drivetrain.callbacks.reporting import ReporterCallback
from drivetrain.callbacks.wording import clock, number, rough, shorten
from drivetrain.checkpoint.layout import list_checkpoints
from drivetrain.metrics import metric_key
from drivetrain.reporting.facts import count_parameters

if TYPE_CHECKING:
    from drivetrain.callbacks.pace import Pace
    from drivetrain.loop.plan import LoopPlan
    from drivetrain.plugin.reporter import Outcome
    from drivetrain.trainer import Trainer

_SPEEDS = ("train_runtime", "train_samples_per_second", "train_steps_per_second", "train_loss")
_LONG_TO_WAIT = 1.0
"""Seconds that reporters took after training, from which on that is said."""
_NOT_FOR_READERS = ("total_flos", "epoch", "num_input_tokens_seen")


def opening_lines(trainer: Trainer) -> list[str]:
    """What runs, on what, and where it reports to."""
    assert trainer.training_loop is not None
    plan, args = trainer.training_loop.plan, trainer.args
    reporters = [c.name for c in trainer.callback_handler.callbacks if isinstance(c, ReporterCallback)]
    where = [
        f"On {_device(trainer)}, {_precision(trainer)}",
        f"reporting to {', '.join(reporters) or 'nothing'}",
        f"output in {args.output_dir}",
    ]
    if plan.start_step:
        where.append(f"resuming at step {plan.start_step:,}")
    return [
        f"Training {_model(trainer)}: {_length(plan)} of {_batch(trainer, plan)}.",
        f"{'; '.join(where)}.",
    ]


def closing_line(
    trainer: Trainer,
    outcome: Outcome,
    error: BaseException | None,
    pace: Pace,
    metrics: Mapping[str, Any],
) -> str:
    """How a run ended, how long it took, and what came of it.

    Args:
        trainer: The trainer.
        outcome: How it ended.
        error: What ended it, if it did not end well.
        pace: How long it took.
        metrics: Those of the training as a whole; {} if it was left before.
    """
    state = trainer.state
    done = f"{state.global_step:,}"
    if state.global_step < state.max_steps:
        done += f" of {state.max_steps:,}"
    parts = [f"{outcome.capitalize()}{_reason(error)}: {done} updates in {clock(pace.elapsed)}"]
    if "train_samples_per_second" in metrics:
        parts[0] += f" ({rough(metrics['train_samples_per_second'])} samples/s)"
    if pace.since_training > _LONG_TO_WAIT:
        parts.append(f"reporters {clock(pace.since_training)} more")
    if "train_loss" in metrics:
        parts.append(f"mean loss {number(metrics['train_loss'])}")
    parts += _evaluations(trainer)
    return f"{', '.join(parts)}. {_output(trainer, outcome)}."


def further_metrics(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The metrics of a whole training that the closing line does not say, such as memory."""
    said = (*_SPEEDS, *_NOT_FOR_READERS)
    return {name: value for name, value in metrics.items() if name not in said}


def _model(trainer: Trainer) -> str:
    facts = count_parameters(trainer.model)
    total, trained = facts["num_parameters"], facts["num_trainable_parameters"]
    part = "" if trained == total else f", {rough(trained)} of them trained"
    return f"{facts['model']} ({rough(total)} parameters{part})"


def _length(plan: LoopPlan) -> str:
    if plan.num_epochs == sys.maxsize:  # nobody knows how many samples there are
        return f"{plan.max_steps:,} updates"
    num_epochs = plan.max_steps / max(plan.updates_per_epoch, 1)
    epochs = f"{number(num_epochs)} epoch{'' if num_epochs == 1 else 's'}"
    return f"{epochs} of {plan.num_examples:,} samples, {plan.max_steps:,} updates"


def _batch(trainer: Trainer, plan: LoopPlan) -> str:
    """Samples an update, and what they are the product of."""
    per_device, num_processes = trainer._train_batch_size, trainer.args.world_size
    factors = [f"{per_device} a device"]
    factors += [f"{plan.accumulation} accumulated"] if plan.accumulation > 1 else []
    factors += [f"{num_processes} processes"] if num_processes > 1 else []
    product = f" ({' x '.join(factors)})" if len(factors) > 1 else ""
    return f"{plan.total_batch_size:,} samples{product}"


def _device(trainer: Trainer) -> str:
    device = trainer.args.device
    if device.type != "cuda":
        return str(device)
    return f"{device} ({torch.cuda.get_device_name(device)})"


def _precision(trainer: Trainer) -> str:
    """The precision by name, or that of the parameters where they are computed with as they are."""
    if trainer.precision.name not in ("", "no"):
        return trainer.precision.name
    types = (
        parameter.dtype for parameter in trainer.model.parameters() if parameter.is_floating_point()
    )
    return str(next(types, torch.get_default_dtype())).removeprefix("torch.")


def _reason(error: BaseException | None) -> str:
    if error is None:
        return ""
    text = " ".join(str(error).split())
    return f" by {type(error).__name__}" + (f" ({shorten(text, 100)})" if text else "")


def _evaluations(trainer: Trainer) -> Iterator[str]:
    """The last value of the metric that compares models, and the best."""
    state = trainer.state
    key = metric_key(trainer.args.metric_for_best_model or "loss")
    last = next((entry[key] for entry in reversed(state.log_history) if key in entry), None)
    if last is not None:
        yield f"last {key} {number(last)}"
    if state.best_metric is not None:
        step = "" if state.best_global_step is None else f" at step {state.best_global_step:,}"
        yield f"best {number(float(state.best_metric))}{step}"


def _output(trainer: Trainer, outcome: Outcome) -> str:
    folder = Path(trainer.args.output_dir)
    checkpoints = list_checkpoints(folder)
    if outcome == "finished":
        return f"Output in {folder}"
    return f"Last checkpoint: {checkpoints[-1]}" if checkpoints else f"No checkpoint in {folder}"

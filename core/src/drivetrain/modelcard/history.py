"""What of a run's history the card tells: the evaluations, and the training loss at each."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from drivetrain.trainer import Trainer

_NO_RESULT = re.compile(
    r"epoch|step|num_input_tokens_seen|.*_(runtime|per_second|preparation_time|compilation_time)|.*_mem_(cpu|gpu)_\w+"
)


@dataclass
class Evaluation:
    """The evaluations after one update, of one data set or several.

    Attributes:
        step: The update.
        epoch: Passes over the training data until then.
        training_loss: The last one that was logged by then; None if there was none.
        metrics: What was measured, by its logged name; no speeds.
    """

    step: int
    epoch: float | None
    training_loss: float | None
    metrics: dict[str, Any] = field(default_factory=dict)


def evaluations(history: Sequence[Mapping[str, Any]]) -> list[Evaluation]:
    """The evaluations in a history, in order; those after the same update are one."""
    rows: list[Evaluation] = []
    loss: float | None = None
    for entry in history:
        loss = entry.get("loss", loss)
        if any(name.startswith("eval_") for name in entry):
            step = int(entry.get("step", 0))
            if not rows or rows[-1].step != step:
                rows.append(Evaluation(step, entry.get("epoch"), loss))
            rows[-1].metrics.update(_results(entry))
    return rows


def chosen_evaluation(trainer: Trainer, rows: Sequence[Evaluation]) -> Evaluation | None:
    """The evaluation of the model as it is now: the last, or the best if that was loaded at the end."""
    if trainer.args.load_best_model_at_end and _is_over(trainer.state.log_history):
        for row in rows:
            if row.step == trainer.state.best_global_step:
                return row
    return rows[-1] if rows else None


def _is_over(history: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the last that is told of training is its end."""
    told = [entry for entry in history if "loss" in entry or "train_loss" in entry]
    return bool(told) and "train_loss" in told[-1]


def _results(entry: Mapping[str, Any]) -> dict[str, Any]:
    """What was measured, losses first."""
    names = [name for name in entry if not _NO_RESULT.fullmatch(name)]
    return {name: entry[name] for name in sorted(names, key=lambda name: not name.endswith("loss"))}

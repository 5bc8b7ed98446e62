"""Finding the checkpoint to resume from: the newest that is whole."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from drivetrain.checkpoint import layout
from drivetrain.checkpoint.damage import IncompleteError, examine, find_damage, missing_parts
from drivetrain.checkpoint.headers import DamagedError
from drivetrain.checkpoint.layout import list_checkpoints, step_of
from drivetrain.checkpoint.writing import restore_replaced
from drivetrain_registry import UsageError

__all__ = ["find_checkpoint", "find_damage", "missing_parts"]

logger = logging.getLogger(__name__)

_HELD_BY = {
    layout.OPTIMIZER: "the optimizer's state",
    layout.SCHEDULER: "the schedule of the learning rate, which is moved to the update",
    layout.SCALER: "the scale of the loss",
    layout.GRADIENTS: "the gradients of the update that was begun",
    layout.TRAINING_WEIGHTS: "the weights to train, which the optimizer computes from those to use",
    layout.STATE: "the count of updates (with it schedule, data and random numbers) and the logs",
    layout.PROGRESS: "the sums of losses",
    layout.RANDOM_STATE: "the random numbers",
}
"""What starts afresh where a file is missing."""


def find_checkpoint(
    resume_from: str | bool | Path, output_dir: Path, allow_partial: bool = False
) -> Path:
    """The checkpoint to resume from.

    Args:
        resume_from: True for the newest whole checkpoint in ``output_dir``, or a path to one.
        output_dir: The folder of the run.
        allow_partial: Take one that lacks parts, but no weights: the one named or, for True, the newest
            where none is whole. What starts afresh is said.

    Raises:
        UsageError: There is none, or the one named is damaged or not complete.
    """
    try:
        if resume_from is True:
            return _find_newest(output_dir, allow_partial)
        return _find_named(Path(os.path.expanduser(str(resume_from))), output_dir, allow_partial)
    except OSError as error:
        raise UsageError(
            f"`resume_from_checkpoint`: {str(error.filename)!r} cannot be read ({error.strerror}). "
            "Give this process's user the right to read it, or type the path of another checkpoint."
        ) from error


def _find_newest(output_dir: Path, allow_partial: bool) -> Path:
    restore_replaced(output_dir)
    passed_over: dict[Path, DamagedError] = {}
    for checkpoint in reversed(list_checkpoints(output_dir)):
        damage = examine(checkpoint)
        if damage is None:
            _tell_passed_over(checkpoint, passed_over)
            return checkpoint
        passed_over[checkpoint] = damage
    partial = [path for path, damage in passed_over.items() if isinstance(damage, IncompleteError)]
    if partial and allow_partial:
        damage = passed_over.pop(partial[0])
        _tell_passed_over(partial[0], passed_over)
        _tell_partial(partial[0], damage)
        return partial[0]
    found = f"Found and passed over: {_list_reasons(passed_over)}. " if passed_over else ""
    permission = (
        f" Type allow_partial_resume=True to take what {partial[0].name} has." if partial else ""
    )
    raise UsageError(
        f"`resume_from_checkpoint`: True, and {str(output_dir)!r} has no whole checkpoint. {found}"
        f"Leave it out to start from the beginning.{permission}"
    )


def _find_named(path: Path, output_dir: Path, allow_partial: bool) -> Path:
    if not path.is_dir() and step_of(path) is not None:
        restore_replaced(path.parent)
    if not path.is_dir() and (output_dir / path).is_dir():  # "last-checkpoint", say
        path = output_dir / path
    if not path.is_dir():
        raise UsageError(
            f"`resume_from_checkpoint`: {str(path)!r} is no folder. Type the path of a checkpoint, "
            f"or True for the newest in {str(output_dir)!r}."
        )
    damage = examine(path)
    if damage is None:
        return path
    inner = list_checkpoints(path) if step_of(path) is None else []
    if inner:
        raise UsageError(
            f"`resume_from_checkpoint`: {str(path)!r} is no checkpoint, but a folder with some. Type the "
            f"path of one of them ({_list_names(inner)}), or True for the newest whole one in `output_dir`."
        )
    if allow_partial and isinstance(damage, IncompleteError):
        _tell_partial(path, damage)
        return path
    raise UsageError(
        f"`resume_from_checkpoint`: {str(path)!r} cannot be resumed from: {damage}. "
        f"{_list_ways(path, isinstance(damage, IncompleteError))}"
    )


def _list_ways(refused: Path, is_partial: bool) -> str:
    """What can be typed instead of the path of a checkpoint that is refused."""
    folder = refused.resolve().parent
    others = [path for path in list_checkpoints(folder) if not path.samefile(refused)]
    whole = [path for path in others if find_damage(path) is None]
    partly = "allow_partial_resume=True to take what this one has" if is_partial else ""
    if whole:
        ways = f"Whole in {str(folder)!r}: {_list_names(whole)}. Type the path of one of them"
        return f"{ways}, or {partly}." if partly else f"{ways}."
    ways = f"Type {partly}, or leave" if partly else "Leave"
    return (
        f"No other in {str(folder)!r} is whole. {ways} `resume_from_checkpoint` out to start from the "
        "beginning."
    )


def _tell_passed_over(taken: Path, passed_over: dict[Path, DamagedError]) -> None:
    if passed_over:
        logger.warning("Resuming from %s. Passed over: %s.", taken, _list_reasons(passed_over))


def _tell_partial(checkpoint: Path, damage: DamagedError) -> None:
    missing = missing_parts(checkpoint)
    afresh = [text for name, text in _HELD_BY.items() if name in missing]
    others = [name for name in missing if name not in _HELD_BY]
    logger.warning(
        "Resuming from %s in part, for `allow_partial_resume` is True: %s. What starts afresh: %s.",
        checkpoint,
        damage,
        ", ".join([*afresh, *(f"what {name} would hold" for name in others)]),
    )


def _list_reasons(passed_over: dict[Path, DamagedError]) -> str:
    return "; ".join(f"{checkpoint.name} ({damage})" for checkpoint, damage in passed_over.items())


def _list_names(checkpoints: list[Path]) -> str:
    return ", ".join(checkpoint.name for checkpoint in checkpoints)

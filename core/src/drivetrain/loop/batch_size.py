"""Finding a batch size that fits into memory, for ``auto_find_batch_size``."""

from __future__ import annotations

import contextlib
import copy
import gc
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from drivetrain.checkpoint.layout import list_checkpoints
from drivetrain.checkpoint.random_state import capture_random_state, set_random_state
from drivetrain.checkpoint.writing import delete
from drivetrain.metrics import TrainOutput
from drivetrain.state import TrainerControl
from drivetrain_registry import UsageError

if TYPE_CHECKING:
    from drivetrain.trainer import Trainer

logger = logging.getLogger(__name__)

_TEXTS = ("out of memory", "can't allocate memory", "cannot allocate memory", "ALLOC_FAILED")


def run_with_fitting_batch_size(trainer: Trainer, run: Callable[[], TrainOutput]) -> TrainOutput:
    """Run a training; where memory runs out, start it again with half the batch.

    Each attempt starts from the weights, the optimizer's state and the random numbers of the first, so
    that the one that fits gives what a run with that batch size gives. They are kept in host memory
    meanwhile. Checkpoints of an attempt that failed are deleted.

    Raises:
        UsageError: Not even one sample fits, or an evaluation does not.
    """
    start = _Start(trainer)
    while True:
        reason = _attempt(run)
        if not isinstance(reason, str):
            return reason
        size = trainer._train_batch_size
        if size == 1:
            raise UsageError(
                f"`auto_find_batch_size`: not even one sample fits into memory ({reason}). Type "
                "gradient_checkpointing=True or bf16=True, or take a smaller model."
            )
        trainer._train_batch_size = size // 2
        logger.warning(
            "Memory ran out with %d samples a micro-batch (%s): starting again with %d.",
            size,
            reason,
            trainer._train_batch_size,
        )
        start.restore()


class _Start:
    """What every attempt starts from."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        self.weights: dict[str, torch.Tensor] | None = None
        if trainer.model_init is None:  # or each attempt has a model of its own
            trainer.alter_model_once()
            state = trainer.model.state_dict()
            self.weights = {name: value.detach().cpu().clone() for name, value in state.items()}
        self.random_state = capture_random_state()
        self.parts = trainer.optimizer, trainer.lr_scheduler
        self.states = [copy.deepcopy(part.state_dict()) for part in self.parts if part is not None]

    def restore(self) -> None:
        """Make everything as it was."""
        trainer = self.trainer
        trainer.wait_for_saves()
        trainer.evaluation_weights.forget()
        trainer.optimizer, trainer.lr_scheduler = self.parts
        there = [part for part in self.parts if part is not None]
        for part, state in zip(there, self.states, strict=True):
            part.load_state_dict(copy.deepcopy(state))
        trainer.control = TrainerControl()
        trainer.model.zero_grad(set_to_none=True)
        _free_memory()
        if self.weights is not None:
            trainer.model.load_state_dict(self.weights)
        set_random_state(self.random_state)
        for checkpoint in list_checkpoints(Path(trainer.args.output_dir)):
            is_of_attempt = checkpoint in trainer.saver.own and checkpoint != trainer.saver.spared
            if is_of_attempt and trainer.args.should_save:
                logger.info("Deleting %s of the attempt that failed.", checkpoint)
                delete(checkpoint)


def _attempt(run: Callable[[], TrainOutput]) -> TrainOutput | str:
    """What the run returned, or why memory ran out; the error itself holds on to tensors, and is dropped."""
    try:
        return run()
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        if getattr(error, _STAGE, "train") != "train":
            raise UsageError(
                "`per_device_eval_batch_size`: an evaluation does not fit into memory "
                f"({error}), which no smaller "
                "training batch changes. Type per_device_eval_batch_size=1, or eval_accumulation_steps=1."
            ) from error
        return str(error).splitlines()[0] if str(error) else type(error).__name__


_STAGE = "_drivetrain_stage"


def note_stage(error: BaseException, stage: str) -> None:
    """Note on an error which stage it ended."""
    with contextlib.suppress(AttributeError):  # of errors that take no attributes
        setattr(error, _STAGE, stage)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a device's or the host's memory is used up."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _TEXTS)


def _free_memory() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()

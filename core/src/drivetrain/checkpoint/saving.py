"""Saving the checkpoints of a run: now or in the background, and what happens if one cannot be written."""

from __future__ import annotations

import dataclasses
import errno
import logging
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drivetrain.checkpoint import layout
from drivetrain.checkpoint.errors import CheckpointWriteError, explain, find_os_error
from drivetrain.checkpoint.rotation import rotate
from drivetrain.checkpoint.writing import StagedCheckpoint, delete
from drivetrain.later import Later

if TYPE_CHECKING:
    from drivetrain.checkpoint import contents
    from drivetrain.checkpoint.snapshot import HostCopies
    from drivetrain.state import TrainerState
    from drivetrain.trainer import Trainer
else:
    contents = Later("drivetrain.checkpoint.contents")

logger = logging.getLogger(__name__)


class CheckpointSaver:
    """Saves the checkpoints of a trainer's runs, one at a time.

    Args:
        trainer: The trainer.

    Attributes:
        last_good: The newest checkpoint of this run that is whole; None if there is none yet.
        own: The checkpoints of this run: those that it saved, and the one that it resumes from.
        spared: A checkpoint that is not to be deleted while the run may have to begin anew.
    """

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        self.last_good: Path | None = None
        self.own: set[Path] = set()
        self.spared: Path | None = None
        self._copies: HostCopies | None = None
        self._pending: _Save | None = None
        self._num_failed = 0  # in a row
        self._failed_step: int | None = None

    def begin_run(self, checkpoint: Path | None) -> None:
        """Forget an earlier run; this one resumes from ``checkpoint``, if it does."""
        self.last_good = checkpoint
        self.own = set() if checkpoint is None else {checkpoint}
        self.spared = checkpoint if self.trainer.args.auto_find_batch_size else None
        self._num_failed, self._failed_step = 0, None

    def save(self) -> None:
        """Save a checkpoint of the current update.

        With ``async_save`` it is whole some time later, during training; `on_save` is called then.

        Raises:
            CheckpointWriteError: It could not be written, and ``save_on_error`` says to stop.
        """
        should_save = self.trainer.control.should_save
        self.wait()
        self.trainer.control.should_save = should_save  # `on_save` of the one before has set it back
        in_background = self.trainer.args.async_save and self.trainer.training_loop is not None
        if in_background and self._copies is None:
            from drivetrain.checkpoint.snapshot import HostCopies

            self._copies = HostCopies()
        save = _Save(self.trainer, self._copies if in_background else None)
        with self.trainer.evaluation_weights.in_use():
            save.collect()
            is_waited_for = not in_background or save.error is not None
            if is_waited_for:
                save.write()
                save.agree()
                self._settle(save)
        if not is_waited_for:
            self._pending = save
            save.start()

    def poll(self) -> None:
        """See whether a checkpoint that is written in the background is done, without waiting for it."""
        if self._pending is not None and self._pending.is_done():
            self.wait()

    def wait(self) -> None:
        """Wait for a checkpoint that is written in the background.

        Raises:
            CheckpointWriteError: It could not be written, and ``save_on_error`` says to stop.
        """
        save = self._pending
        if save is None:
            return
        if not save.is_done():
            logger.info("Waiting for %s to be written.", save.target.name)
        save.join()
        self._pending = None
        with self.trainer.evaluation_weights.in_use():  # for who listens to `on_save`
            self._settle(save)

    def finish(self) -> None:
        """The end of training: wait, and try the last update's checkpoint again if it failed."""
        self.wait()
        if self._failed_step == self.trainer.state.global_step:
            logger.warning("Trying once more to save update %d.", self._failed_step)
            self.save()
            self.wait()
        if self.spared is not None and self.last_good is not None and self.trainer.args.should_save:
            self.spared = None
            rotate_for(self.trainer, self.last_good)

    def close(self) -> None:
        """Training is left, perhaps by an error: wait, and only log what else goes wrong."""
        try:
            self.wait()
        except CheckpointWriteError as error:
            logger.error("%s", error)
        except Exception as error:
            logger.error("The last checkpoint could not be written.", exc_info=error)

    def _settle(self, save: _Save) -> None:
        if save.error is not None:
            self._fail(save, save.error)
            return
        self._num_failed, self._failed_step, self.last_good = 0, None, save.target
        self.own.add(save.target)
        self.trainer.emit_as(save.state, "on_save")

    def _fail(self, save: _Save, error: BaseException) -> None:
        if self.trainer.state.best_model_checkpoint == str(save.target):
            self.trainer.state.best_model_checkpoint = save.best_before
        cause = find_os_error(error)
        if cause is None:
            raise error
        self._num_failed, self._failed_step = self._num_failed + 1, save.step
        num_bytes = max(contents.count_bytes(self.trainer), _size_of(self.last_good))
        text = explain(cause, save.target.name, save.target.parent, num_bytes, self.last_good)
        policy = self.trainer.args.save_on_error
        if policy == "stop" or (policy == "stop_at_second" and self._num_failed > 1):
            failed = CheckpointWriteError(f"{text} Training stops, as `save_on_error`={policy!r} says.")
            failed.errno = cause.errno
            raise failed from error
        then = "if the next save fails, too, it stops" if policy == "stop_at_second" else "so it says"
        logger.error("%s TRAINING GOES ON WITHOUT IT: %s (`save_on_error`=%r).", text, then, policy)


class _Save:
    """One checkpoint on its way to the disk.

    Every process takes part in `collect`; those that save (one, or one a machine) write the rest.
    """

    def __init__(self, trainer: Trainer, copies: HostCopies | None) -> None:
        args, state = trainer.args, trainer.state
        self.strategy = trainer.strategy
        self.trainer = trainer
        self.copies = copies
        self.step = state.global_step
        self.target = Path(args.output_dir, layout.checkpoint_name(self.step))
        self.staged = StagedCheckpoint(self.target, trainer.strategy.gather(uuid.uuid4().hex[:8])[0])
        self.should_save = args.should_save
        self.limit = args.save_total_limit
        self.spared = trainer.saver.spared
        self.best_before = state.best_model_checkpoint
        self.overwritten = trainer.overwritten_checkpoints
        self.error: BaseException | None = None
        self.facts: dict[str, Any] = {}
        self._writes: list[Callable[[], None]] = []
        self._thread: threading.Thread | None = None

    def collect(self) -> None:
        """Write what is small, and keep, or copy, what is to be written; the state may change after that."""
        with self._noting_errors():
            if self.should_save:
                self.staged.begin()
        self.agree()  # and the folder is there
        if self.error is not None:
            return
        with self._noting_errors():
            contents.note_best(self.trainer.state, self.target, self.trainer.saver.own)
            self._writes = contents.collect(self.trainer, self.staged.folder, self.copies)
            self.facts = contents.facts(self.trainer)
            self.state = self.trainer.state if self.copies is None else copy_of(self.trainer.state)
            if self.copies is not None:
                self.copies.finish()
        self.agree()  # and every process has written what is its own

    def write(self) -> None:
        """Write it, and delete the checkpoints that are no longer wanted."""
        if self.error is not None or not self.should_save:
            return
        with self._noting_errors():
            for write in self._writes:
                write()
                self.staged.flush_written()
            self.staged.commit(self.facts)
            self._delete_others()

    def start(self) -> None:
        """Write it in a thread. At the end of the process Python waits for it."""
        self._thread = threading.Thread(target=self.write, name=f"drivetrain-{self.target.name}")
        self._thread.start()

    def is_done(self) -> bool:
        """Whether the thread has ended."""
        return self._thread is None or not self._thread.is_alive()

    def join(self) -> None:
        """Wait for the thread."""
        if self._thread is not None:
            self._thread.join()

    def agree(self) -> None:
        """Let every process know whether another one failed, and wait for all."""
        reports = self.strategy.gather(_report(self.error))
        failed = [(rank, report) for rank, report in enumerate(reports) if report is not None]
        if failed and self.error is None:
            rank, (code, text) = failed[0]
            text = f"{text} (in process {rank})"
            self.error = RuntimeError(text) if code is None else OSError(code, text)
            self._abandon()

    @contextmanager
    def _noting_errors(self) -> Iterator[None]:
        """Keep an error until it is known what to do about it; what was written is removed."""
        try:
            yield
        except BaseException as error:
            self.error = error
            self._abandon()
            if not isinstance(error, Exception):
                raise

    def _abandon(self) -> None:
        if self.should_save:
            self.staged.abandon()

    def _delete_others(self) -> None:
        """The checkpoint is whole: that others cannot be deleted is said, and no failure."""
        try:
            delete_overwritten(self.overwritten, self.target, self.spared)
            kept = [self.state.best_model_checkpoint, self.spared]
            rotate(self.target.parent, self.limit, kept, newest=self.target)
        except OSError as error:
            logger.error("`save_total_limit`: an older checkpoint cannot be deleted: %s", error)


def rotate_for(trainer: Trainer, newest: Path) -> None:
    """Delete the checkpoints of a trainer's folder that are no longer wanted."""
    limit, best = trainer.args.save_total_limit, trainer.state.best_model_checkpoint
    try:
        rotate(newest.parent, limit, [best], newest)
    except OSError as error:
        logger.error("`save_total_limit`: an older checkpoint cannot be deleted: %s", error)


def delete_overwritten(checkpoints: list[Path], newest: Path, spared: Path | None = None) -> None:
    """Delete checkpoints of earlier runs, once this run has one of its own."""
    while checkpoints:
        checkpoint = checkpoints.pop()
        if checkpoint not in (newest, spared) and checkpoint.is_dir():
            logger.info("Deleting %s of an earlier run, for `overwrite_output_dir` is True.", checkpoint)
            delete(checkpoint)


def _size_of(checkpoint: Path | None) -> int:
    """Bytes in the files of a checkpoint; 0 if there is none."""
    try:
        return sum(file.stat().st_size for file in checkpoint.rglob("*")) if checkpoint else 0
    except OSError:
        return 0


def copy_of(state: TrainerState) -> TrainerState:
    """The state as it is now."""
    return dataclasses.replace(state, log_history=list(state.log_history))


def _report(error: BaseException | None) -> tuple[int | None, str] | None:
    """What other processes are told of an error: the operating system's number, if it has one, and a text."""
    if error is None:
        return None
    cause = find_os_error(error)
    if cause is None:
        return None, f"{type(error).__name__}: {error}"
    return cause.errno or errno.EIO, cause.strerror or str(cause)

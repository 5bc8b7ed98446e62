"""A reporter plugin as a callback: it is told what is logged, and cannot end or delay the run."""

from __future__ import annotations

import atexit
import functools
import json
import logging
import os
import re
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from drivetrain.callbacks.callback import TrainerCallback
from drivetrain.checkpoint.layout import checkpoint_name
from drivetrain.hookspecs import hookimpl
from drivetrain.later import Later
from drivetrain.parts import load_reporter, problems_of
from drivetrain.plugin.reporter import CallbackReporter, Outcome, ReporterPlugin
from drivetrain.reporting.courier import Call
from drivetrain.reporting.delivery import Delivery, DirectDelivery, QueuedDelivery
from drivetrain.reporting.facts import describe_run
from drivetrain_registry import UsageError, default_registry
from drivetrain_registry.kinds import REPORTER

if TYPE_CHECKING:
    from drivetrain.arguments import TrainingArguments
    from drivetrain.features.measurements import Measurements
    from drivetrain.reporting import artefacts
    from drivetrain.state import TrainerControl, TrainerState
    from drivetrain.trainer import Trainer
else:
    artefacts = Later("drivetrain.reporting.artefacts")

logger = logging.getLogger(__name__)


class ReporterCallback(TrainerCallback):
    """Passes logs on to a reporter plugin, on the process that reports.

    The plugin is called in a thread of its own, unless it is for local files or `reporter_errors` says
    otherwise; see `drivetrain.reporting`. It is closed however the run ends.
    """

    def __init__(self, reporter: ReporterPlugin) -> None:
        self.reporter = reporter
        self._delivery: Delivery | None = None
        self._busy: Delivery | None = None
        self._measurements: Measurements | None = None
        self._state: Mapping[str, Any] = {}
        self._is_of_training = False
        self._has_complained = False
        self._deadline = 0.0

    def __getstate__(self) -> dict[str, Any]:
        """A copy is that of a callback whose run is over: threads cannot be copied."""
        return {**vars(self), "_delivery": None, "_busy": None, "_deadline": 0.0}

    @property
    def name(self) -> str:
        """What the user called the reporter."""
        return self.reporter.name or type(self.reporter).__name__

    @hookimpl
    def on_stage_begin(self, trainer: Trainer) -> None:
        """Note who measures what is reported beside the logs."""
        self._measurements = trainer.measurements

    @hookimpl
    def read_checkpoint(self, folder: Path) -> None:
        """Take up what the reporter needs to go on where the run that is resumed was reported."""
        file = folder / _state_file(self.name)
        self._state = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}

    @hookimpl
    def write_checkpoint(self, folder: Path) -> None:
        """Keep that in a checkpoint."""
        if self._delivery is not None and (state := self._read_state()):
            (folder / _state_file(self.name)).write_text(state, encoding="utf-8")

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Open the reporter for this run, which an evaluation before it belongs to."""
        resumed = self._state
        self.close("finished")
        if state.global_step > 0 or self._is_of_training:
            self._state = resumed if state.global_step > 0 else {}
        self._is_of_training = True
        self._open(args, state, kwargs.get("model"))

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Report values, under the names that every reporter gets, and what was measured besides."""
        logs = kwargs["logs"]
        values = {_reported_name(name): value for name, value in logs.items()}
        if "loss" in logs and self._measurements is not None:
            values.update(self._measurements.values(state.global_step))
        self._send_values(args, state, kwargs.get("model"), values)

    @hookimpl
    def on_report(self, trainer: Trainer, values: Mapping[str, Any]) -> None:
        """Report what is for reporters only; see `Trainer.report`."""
        self._send_values(trainer.args, trainer.state, trainer.model, dict(values))

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Hand over a checkpoint, if the reporter keeps those."""
        if self._delivery is None or not self.reporter.takes_checkpoints:
            return
        folder = Path(args.output_dir, checkpoint_name(state.global_step))
        step = state.global_step
        try:
            copy = artefacts.link_copy(folder, self.name)
        except OSError as error:
            logger.error("The reporter %r does not get %s: %s", self.name, folder.name, error)
            return
        self._delivery.send(Call("log_checkpoint", (copy.folder, step), step, copy.remove))

    @hookimpl
    def on_run_end(self, trainer: Trainer, outcome: Outcome, error: BaseException | None) -> None:
        """Close the reporter, with how the run ended; all reporters are given the same time for that."""
        for callback in trainer.callback_handler.callbacks:
            if isinstance(callback, ReporterCallback) and callback.is_open:
                try:
                    if outcome == "finished" and callback.reporter.takes_model:
                        callback.hand_over_model(trainer)
                finally:
                    callback.begin_to_close(outcome, error, trainer.state.global_step)
        self.wait()

    @property
    def is_open(self) -> bool:
        """Whether the reporter has a run that nobody has begun to close."""
        return self._delivery is not None and not self._deadline

    def hand_over_model(self, trainer: Trainer) -> None:
        """Give the reporter the model that the training ended with."""
        assert self._delivery is not None
        try:
            copy = artefacts.save_model(trainer, self.name)
        except Exception as error:  # a full disk, say, at the end of a run that went well
            if trainer.args.reporter_errors == "raise":
                raise
            logger.error("The reporter %r gets no model: %s", self.name, error)
            return
        step = trainer.state.global_step
        self._delivery.send(Call("log_model", (copy.folder,), step, copy.remove))

    def close(self, outcome: Outcome) -> None:
        """Close the reporter if it is open."""
        self.begin_to_close(outcome)
        self.wait()

    def begin_to_close(
        self, outcome: Outcome, error: BaseException | None = None, step: int = 0
    ) -> None:
        """Have the reporter closed after all that it was sent, if it is open."""
        if self._delivery is None or not self.is_open:
            return
        self._deadline = time.monotonic() + self.reporter.args.reporter_timeout
        _OPEN.discard(self)
        if outcome == "failed" and error is not None:
            text = f"{type(error).__name__}: {error}"
            self._delivery.send(Call("log", ({"run/error": text}, step), step))
        self._delivery.end(outcome)

    def wait(self) -> None:
        """Wait for a reporter that is being closed, as long as it has for that."""
        if self._delivery is None:
            return
        delivery, deadline = self._delivery, self._deadline
        is_done = False
        try:
            is_done = delivery.wait(deadline)
        except KeyboardInterrupt:  # of whoever does not want to wait; the run is over
            logger.warning("Not waiting for the reporter %r any longer.", self.name)
        finally:
            self._state = json.loads(self._read_state() or "{}")
            self._deadline = 0.0
            self._delivery = None
            self._busy = None if is_done else delivery

    def _open(self, args: TrainingArguments, state: TrainerState, model: Any) -> None:
        if self._deadline:  # whoever waited for the end of the last run was interrupted
            self.wait()
        if self._delivery is not None or not state.is_world_process_zero:
            return
        if self._busy is None and (self.reporter.takes_checkpoints or self.reporter.takes_model):
            artefacts.remove_left_over(Path(args.output_dir), self.name)
        self._delivery = self._make_delivery(args)
        _OPEN.add(self)
        _close_all_at_the_end()
        run = describe_run(args, model, state.global_step, self._state)
        try:
            self.reporter.prepare()
        except Exception as error:
            if args.reporter_errors == "raise":
                raise
            logger.error(
                "The reporter %r failed in `prepare`; it is opened nonetheless.",
                self.name,
                exc_info=error,
            )
        self._delivery.send(Call("open", (run,), state.global_step))

    def _make_delivery(self, args: TrainingArguments) -> Delivery:
        if self._busy is not None:  # with an earlier run: a reporter is told one thing after the other
            return self._busy
        raises = args.reporter_errors == "raise"
        if raises or self.reporter.is_immediate:
            return DirectDelivery(self.reporter, raises)
        return QueuedDelivery(self.reporter, args.reporter_timeout)

    def _send_values(
        self, args: TrainingArguments, state: TrainerState, model: Any, values: dict[str, Any]
    ) -> None:
        if not state.is_world_process_zero:
            return
        self._open(args, state, model)
        assert self._delivery is not None
        values = {str(name): _as_it_is_now(value) for name, value in values.items()}
        self._delivery.send(Call("log", (values, state.global_step), state.global_step))

    def _read_state(self) -> str:
        """What the reporter wants to be kept, as JSON; empty if that is nothing.

        Until it has taken up what a checkpoint kept, that is kept on.
        """
        if self._state and self._delivery is not None and not self._delivery.has_opened:
            return json.dumps(dict(self._state))
        try:
            state = self.reporter.state()
            return json.dumps(dict(state)) if state else ""
        except Exception as error:  # it raised, or gave something that is no JSON
            if not self._has_complained:
                self._has_complained = True
                logger.error("The reporter %r failed in `state`.", self.name, exc_info=error)
            return ""


_OPEN: set[ReporterCallback] = set()
"""Callbacks whose reporters are closed when the process ends: for what is logged without `train`."""


@functools.cache
def _close_all_at_the_end() -> None:
    # When `atexit` calls, no library can start a thread pool any more, as some do to send what is left.
    if hasattr(os, "register_at_fork"):  # the end of a loading process is not that of this one
        os.register_at_fork(after_in_child=_OPEN.clear)
    register = getattr(threading, "_register_atexit", atexit.register)
    try:
        register(_close_all)
    except RuntimeError:  # it is the end already
        atexit.register(_close_all)


def _close_all() -> None:
    left_open = list(_OPEN)
    for callback in left_open:
        callback.begin_to_close("finished")
    for callback in left_open:
        callback.wait()


def make_reporter_callbacks(args: TrainingArguments) -> list[TrainerCallback]:
    """A callback for each reporter that ``report_to`` names, in that order, and each once."""
    reporters: list[ReporterPlugin] = []
    for name in args.reporter_names:
        reporters += _load_all(args) if name == "all" else [load_reporter(args, name)]
    each_once = {_identity(reporter): reporter for reporter in reversed(reporters)}
    return [
        reporter.make_callback()
        if isinstance(reporter, CallbackReporter)
        else ReporterCallback(reporter)
        for reporter in reversed(each_once.values())
    ]


def _identity(reporter: ReporterPlugin) -> tuple[type, str]:
    """The same for a reporter that is named with its distribution as without."""
    return type(reporter), reporter.name.rpartition(":")[2]


def _load_all(args: TrainingArguments) -> list[ReporterPlugin]:
    """Every reporter that is installed and can be used; nobody asked for the others by name."""
    usable: list[ReporterPlugin] = []
    for name in default_registry().names(REPORTER):
        try:
            reporter = load_reporter(args, name)
            problems = problems_of(reporter)
        except UsageError as error:
            problems = [str(error)]
        if problems:
            logger.debug("Not reporting to %r: %s", name, " ".join(problems))
        else:
            usable.append(reporter)
    logger.info("`report_to`='all': reporting to %s.", ", ".join(r.name for r in usable) or "nobody")
    return usable


def _reported_name(name: object) -> str:
    """``eval_loss`` is ``eval/loss`` to a reporter, ``loss`` is ``train/loss``."""
    name = str(name)
    for split in ("eval", "test"):
        if name.startswith(f"{split}_"):
            return f"{split}/{name.removeprefix(f'{split}_')}"
    return f"train/{name}"


def _as_it_is_now(value: Any) -> Any:
    """What the reporter comes to later may be something else by then: a tensor, an array, a picture."""
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    return value.copy() if isinstance(value, np.ndarray) or hasattr(value, "pixels") else value


def _state_file(name: str) -> str:
    return f"reporter_{re.sub(r'[^A-Za-z0-9.-]', '_', name)}.json"

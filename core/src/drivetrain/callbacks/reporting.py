"""A reporter plugin as a callback: it is told what is logged, and cannot end the run."""

from __future__ import annotations

import atexit
import dataclasses
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from drivetrain.callbacks.callback import TrainerCallback
from drivetrain.hookspecs import hookimpl
from drivetrain.parallel_wrappers import unwrap
from drivetrain.parts import load_reporter, problems_of
from drivetrain.plugin.reporter import Outcome, ReporterPlugin, Run
from drivetrain_registry import UsageError, default_registry
from drivetrain_registry.kinds import REPORTER

if TYPE_CHECKING:
    from drivetrain.arguments import TrainingArguments
    from drivetrain.state import TrainerControl, TrainerState

logger = logging.getLogger(__name__)

_FAILURES_BEFORE_OFF = 3


class ReporterCallback(TrainerCallback):
    """Passes logs on to a reporter plugin, on the process that reports.

    An error in the plugin is logged once; after three in a row the plugin is switched off. `close`
    is called however the run ends.
    """

    def __init__(self, reporter: ReporterPlugin) -> None:
        self.reporter = reporter
        self._is_open = False
        self._failures = 0
        self._has_complained = False
        self._is_off_for_good = False

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Open the reporter for this run; what was logged before it, without training, is over."""
        self.close("finished")
        self._open(args, state, kwargs.get("model"))

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Report values, under the names that every reporter gets."""
        if not state.is_world_process_zero:
            return
        self._open(args, state, kwargs.get("model"))
        values = {_reported_name(name): value for name, value in kwargs["logs"].items()}
        self._guard(self.reporter.log, values, state.global_step)

    @hookimpl
    def on_run_end(self, outcome: Outcome) -> None:
        """Close the reporter, with how the run ended."""
        self.close(outcome)

    def close(self, outcome: Outcome) -> None:
        """Close the reporter if it is open, even if it is switched off."""
        if self._is_open:
            self._is_open = False
            self._failures = 0
            atexit.unregister(self.close)
            self._guard(self.reporter.close, outcome)

    def _open(self, args: TrainingArguments, state: TrainerState, model: Any) -> None:
        if self._is_open or not state.is_world_process_zero:
            return
        self._is_open = True
        atexit.register(self.close, "finished")  # for what is logged after `train`, or without it
        config = {**args.to_dict(), **_model_config(model)}
        run = Run(args.run_name or "", config, model, state.global_step)
        if not self._guard(self.reporter.open, run):  # nothing can be told to what is not open
            self._is_off_for_good = True
            logger.warning("The reporter %r could not be opened and is switched off.", self._name)

    def _guard(self, method: Callable[..., None], *arguments: Any) -> bool:
        """Call a method of the reporter; return whether it was called and did not raise."""
        if self._is_off_for_good or self._failures >= _FAILURES_BEFORE_OFF:
            return False
        try:
            method(*arguments)
        except Exception as error:  # whatever a reporter raises, the run goes on
            self._failures += 1
            self._complain(method.__name__, error)
            return False
        self._failures = 0
        return True

    @property
    def _name(self) -> str:
        return self.reporter.name or type(self.reporter).__name__

    def _complain(self, method: str, error: Exception) -> None:
        name = self._name
        if not self._has_complained:
            self._has_complained = True
            logger.error(
                "The reporter %r failed in `%s`; training goes on.", name, method, exc_info=error
            )
        if self._failures == _FAILURES_BEFORE_OFF:
            logger.warning(
                "The reporter %r failed %d times in a row and is switched off.",
                name,
                _FAILURES_BEFORE_OFF,
            )


def make_reporter_callbacks(args: TrainingArguments) -> list[ReporterCallback]:
    """A callback for each reporter that ``report_to`` names, in that order."""
    reporters: list[ReporterPlugin] = []
    for name in args.reporter_names:
        reporters += _load_all(args) if name == "all" else [load_reporter(args, name)]
    return [ReporterCallback(reporter) for reporter in reporters]


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


def _reported_name(name: str) -> str:
    """``eval_loss`` is ``eval/loss`` to a reporter, ``loss`` is ``train/loss``."""
    for split in ("eval", "test"):
        if name.startswith(f"{split}_"):
            return f"{split}/{name.removeprefix(f'{split}_')}"
    return f"train/{name}"


def _model_config(model: Any) -> dict[str, Any]:
    config: Any = getattr(unwrap(model), "config", None)
    if hasattr(config, "to_dict"):
        return {"model_config": config.to_dict()}
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        return {"model_config": dataclasses.asdict(config)}
    return {"model_config": dict(config)} if isinstance(config, dict) else {}

"""Sends what a run logs to Comet, or to an archive that is uploaded later."""

from __future__ import annotations

import io
import os
import sys
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drivetrain.plugin import Image, Outcome, ReporterPlugin, Run, as_float, find_missing_library
from drivetrain_comet_ml.library import Listening, load_comet
from drivetrain_comet_ml.settings import CometOptions, choose_automatic, find_problems, read_settings
from drivetrain_comet_ml.steps import Steps, ask_server, read_archives

if TYPE_CHECKING:
    from drivetrain import TrainingArguments


class Comet(ReporterPlugin):
    """Numbers as metrics, texts and pictures as such, the configuration as hyper-parameters.

    A resumed run goes on with its experiment, and leaves out the steps that Comet has. An experiment that
    is running when training begins is used, and left running. Comet logs nothing by itself unless it is
    asked to.
    """

    Options = CometOptions

    def __init__(self, args: TrainingArguments, options: Any = None) -> None:
        super().__init__(args, options)
        self._experiment: Any = None
        self._borrowed: Any = None
        self._key: str | None = None
        self._error = ""
        self._logged: Steps = {}
        self._known: Steps = {}
        self._start_step = 0

    @property
    def takes_checkpoints(self) -> bool:  # type: ignore[override]
        """Whether ``COMET_LOG_ASSETS`` or the option `log_assets` asks for them."""
        return read_settings(self.args, self.options).logs_assets

    @property
    def takes_model(self) -> bool:  # type: ignore[override]
        """The same."""
        return self.takes_checkpoints

    def problems(self) -> Iterable[str]:
        """No library, no key while online, or a setting that it cannot be started with."""
        yield from find_missing_library("comet_ml", "comet_ml", "comet-ml")
        yield from find_problems(self.options, read_settings(self.args, self.options))

    def prepare(self) -> None:
        """Import the library, which draws random numbers, and look for a running experiment."""
        if read_settings(self.args, self.options).is_disabled:
            return
        was_imported = "comet_ml" in sys.modules
        comet_ml = load_comet()
        running = comet_ml.get_running_experiment() if was_imported else None
        is_users = running is not None and running is not self._experiment and not running.ended
        self._borrowed = running if is_users else None

    def open(self, run: Run) -> None:
        """Start an experiment, or go on with one, and describe the run in it."""
        settings = read_settings(self.args, self.options)
        if settings.is_disabled:
            return
        self._start_step, self._error = run.start_step, ""
        resumed_key = run.state.get("experiment_key")
        borrowed_key = self._borrowed.get_key() if self._borrowed is not None else None
        key = borrowed_key or resumed_key or settings.key or uuid.uuid4().hex
        self._take_up(key, run, is_resumed=key == resumed_key)
        if self._borrowed is not None:
            self._experiment = self._borrowed
        else:
            self._experiment = self._start(run.name, is_resumed=key == resumed_key)
        self._describe(run)

    def log(self, values: Mapping[str, Any], step: int) -> None:
        """Hand over the values of an update step; Comet sends them from threads of its own."""
        if self._experiment is None:
            return
        epoch = as_float(values.get("train/epoch"))
        for name, value in values.items():
            if not self._start_step < step <= self._known.get(name, -1):
                self._send(name, value, step, epoch)

    def log_checkpoint(self, folder: Path, step: int) -> None:
        """Keep the files of a checkpoint as assets, under its name."""
        if self._experiment is not None:
            self._experiment.log_asset_folder(str(folder), step=step, log_file_name=True, recursive=True)
            self._experiment.flush()  # the folder is gone when this returns

    def log_model(self, folder: Path) -> None:
        """Keep the model's files as the experiment's model ``model``."""
        if self._experiment is not None:
            self._experiment.log_model("model", str(folder))
            self._experiment.flush()

    def close(self, outcome: Outcome) -> None:
        """Note how the run ended, and end the experiment unless it is the user's."""
        if self._experiment is None:
            return
        experiment, self._experiment = self._experiment, None
        experiment.log_other("run/outcome", outcome)
        if experiment is self._borrowed:
            experiment.flush()
            return
        if outcome == "failed":  # as the library's own hook for uncaught exceptions does
            experiment._report_experiment_error(self._error or "The run failed.", has_crashed=True)
        experiment.end()

    def state(self) -> Mapping[str, Any]:
        """The experiment's key, which is chosen before there is an experiment."""
        return {} if self._key is None else {"experiment_key": self._key}

    def _take_up(self, key: str, run: Run, is_resumed: bool) -> None:
        """Find out what the experiment has already; one that the run does not go on with counts as empty."""
        if key != self._key or not is_resumed:
            self._logged = {}
        self._key = key
        self._known = self._find_known(key) if is_resumed else {}
        self._logged = dict(self._known)
        self.keep_known(run, self._known.values())

    def _start(self, name: str, is_resumed: bool) -> Any:
        comet_ml = load_comet()
        settings = read_settings(self.args, self.options)
        with Listening() as errors:
            experiment = comet_ml.start(
                workspace=self.options.workspace or os.environ.get("COMET_WORKSPACE"),
                project_name=settings.project,
                experiment_key=self._key,
                mode="get_or_create" if is_resumed else settings.mode,
                online=settings.is_online,
                experiment_config=comet_ml.ExperimentConfig(
                    name=os.environ.get("COMET_START_EXPERIMENT_NAME") or name,
                    tags=list(self.options.tags) or None,
                    offline_directory=self.options.offline_directory,
                    **choose_automatic(self.options),
                ),
            )
        if not experiment.alive:
            reason = errors.last or "the experiment could not be started."
            raise ConnectionError(f"Comet: {reason}")
        experiment.disable_mp()
        experiment._atexit_hook.disable()  # it is ended by `close`; the process is not to wait for it again
        return experiment

    def _find_known(self, key: str) -> Steps:
        if self._logged:
            return dict(self._logged)
        if read_settings(self.args, self.options).is_online:
            return ask_server(load_comet(), key)
        folder = (
            load_comet().config.get_config().get_comet_offline_directory(self.options.offline_directory)
        )
        return read_archives(folder, key)

    def _describe(self, run: Run) -> None:
        config = dict(run.config)
        model_config = config.pop("model_config", None)
        parameters = (
            {"args": config} if model_config is None else {"args": config, "config": model_config}
        )
        self._experiment.log_parameters(parameters, nested_support=True)
        self._experiment.log_others(dict(run.facts))

    def _send(self, name: str, value: Any, step: int, epoch: float | None) -> None:
        number = as_float(value)
        if number is not None:
            self._experiment.log_metric(name, number, step=step, epoch=epoch)
            self._logged[name] = max(step, self._logged.get(name, step))
        elif isinstance(value, str):
            self._send_text(name, value, step)
        elif isinstance(value, Image):
            picture = io.BytesIO(value.to_png())
            caption = {"caption": value.caption} if value.caption else None
            self._experiment.log_image(picture, name=name, step=step, metadata=caption)
        else:
            self.leave_out(name, value)

    def _send_text(self, name: str, text: str, step: int) -> None:
        if name == "run/error":
            self._error = text
        self._experiment.log_text(text, step=step, metadata={"name": name})

"""Sends what a run logs to ClearML, or to an archive that is imported later."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drivetrain.plugin import Image, Outcome, ReporterPlugin, Run, as_float, find_missing_library
from drivetrain_clearml.library import (
    detach_from_forks,
    load_clearml,
    make_cache_absolute,
    process_kept,
    settings_of_task,
)
from drivetrain_clearml.names import SINGLE_VALUES, split_name
from drivetrain_clearml.settings import (
    FRAMEWORKS,
    ClearMLOptions,
    choose_name,
    choose_project,
    find_problems,
    is_offline,
    logs_model,
)
from drivetrain_clearml.steps import Steps, find_last_steps

if TYPE_CHECKING:
    from drivetrain import TrainingArguments


class ClearML(ReporterPlugin):
    """Numbers as scalars, texts on the console, pictures as debug samples, the configuration as parameters.

    A resumed run goes on with its task, and leaves out the steps that are there. A task that the user began
    is used, and left open. ClearML logs nothing by itself unless it is asked to.
    """

    Options = ClearMLOptions

    def __init__(self, args: TrainingArguments, options: Any = None) -> None:
        super().__init__(args, options)
        self._task: Any = None
        self._borrowed: Any = None
        self._task_id: str | None = None
        self._error = ""
        self._logged: Steps = {}
        self._known: Steps = {}
        self._start_step = 0

    @property
    def takes_checkpoints(self) -> bool:  # type: ignore[override]
        """Whether ``CLEARML_LOG_MODEL`` or the option `log_model` asks for them."""
        return logs_model(self.options)

    @property
    def takes_model(self) -> bool:  # type: ignore[override]
        """The same."""
        return self.takes_checkpoints

    def problems(self) -> Iterable[str]:
        """No library, no credentials while online, or a setting that cannot be read."""
        yield from find_missing_library("clearml", "clearml", "clearml")
        yield from find_problems(self.options)

    def prepare(self) -> None:
        """Import the library, which is not done beside the training, and look for a task of the user's."""
        was_imported = "clearml" in sys.modules
        clearml = load_clearml()
        current = clearml.Task.current_task() if was_imported else None
        self._borrowed = None if current is self._task else current

    def open(self, run: Run) -> None:
        """Begin a task, or go on with one, and describe the run in it."""
        self._start_step, self._error = run.start_step, ""
        if self._borrowed is not None:
            self._task = self._borrowed
        else:
            self._task = self._begin(run)
        self._take_up(run)
        self._describe(run)

    def log(self, values: Mapping[str, Any], step: int) -> None:
        """Hand over the values of an update step; ClearML sends them from a thread of its own."""
        assert self._task is not None, "`log` before `open`"
        for name, value in values.items():
            if not self._start_step < step <= self._known.get("/".join(split_name(name)), -1):
                self._send(name, value, step)

    def log_checkpoint(self, folder: Path, step: int) -> None:
        """Keep a checkpoint as an artefact of its name."""
        self._keep(folder, folder.name)

    def log_model(self, folder: Path) -> None:
        """Keep the model that training ends with as the artefact ``model``."""
        self._keep(folder, "model")

    def close(self, outcome: Outcome) -> None:
        """Note how the run ended, and close the task unless it is the user's."""
        if self._task is None:
            return
        task, self._task = self._task, None
        task.set_user_properties(run_outcome=outcome)
        clearml = load_clearml()
        if task is self._borrowed or not clearml.Task.running_locally():
            task.flush(wait_for_uploads=True)
            return
        with process_kept():
            task.close()
            if not clearml.Task.is_offline():
                self._mark(clearml.Task.get_task(task_id=task.id), outcome)

    def state(self) -> Mapping[str, Any]:
        """The identity of the task, once there is one."""
        return {} if self._task_id is None else {"task_id": self._task_id}

    def _begin(self, run: Run) -> Any:
        clearml = load_clearml()
        resumed_id = run.state.get("task_id")
        watched = {name: name in self.options.frameworks for name in FRAMEWORKS}
        with process_kept(), settings_of_task(self.options.can_be_aborted):
            clearml.Task.set_offline(is_offline(self.options))
            make_cache_absolute()
            task = clearml.Task.init(
                project_name=choose_project(self.args, self.options),
                task_name=choose_name(run.name, self.options),
                tags=list(self.options.tags) or None,
                reuse_last_task_id=resumed_id or False,
                continue_last_task=0 if resumed_id else False,  # with the steps as they are given
                output_uri=self.options.output_uri,
                auto_connect_arg_parser=self.options.log_arguments,
                auto_connect_frameworks={**watched, "detect_repository": self.options.log_code},
                auto_resource_monitoring=self.options.log_resources,
                auto_connect_streams=self.options.log_console,
            )
            detach_from_forks()
        return task

    def _take_up(self, run: Run) -> None:
        """Find out what the task has already; one that the run does not go on with counts as empty."""
        is_resumed = run.state.get("task_id") == self._task.id
        if self._task_id != self._task.id or not is_resumed:
            self._logged = {}
        self._task_id = self._task.id
        self._known = (dict(self._logged) or find_last_steps(self._task)) if is_resumed else {}
        self._logged = dict(self._known)
        self.keep_known(run, self._known.values())

    def _describe(self, run: Run) -> None:
        config = dict(run.config)
        model_config = config.pop("model_config", None)
        self._task.connect(config, name="Args", ignore_remote_overrides=True)
        self._task.connect(dict(run.facts), name="Model", ignore_remote_overrides=True)
        if model_config is not None:
            self._task.set_configuration_object(name="Model Configuration", config_dict=model_config)

    def _send(self, name: str, value: Any, step: int) -> None:
        number, report = as_float(value), self._task.get_logger()
        title, series = split_name(name)
        if number is not None and math.isfinite(number):
            report.report_scalar(title, series, number, step)
            if name in SINGLE_VALUES:
                report.report_single_value(series, number)
            key = f"{title}/{series}"
            self._logged[key] = max(step, self._logged.get(key, step))
        elif number is not None or isinstance(value, str):
            # ClearML would show 0 for a number that is not finite.
            report.report_text(f"step {step}: {name}: {value}", print_console=False)
            self._error = str(value) if name == "run/error" else self._error
        elif isinstance(value, Image):
            report.report_image(title, series, step, image=value.pixels)
        else:
            self.leave_out(name, value)

    def _keep(self, folder: Path, name: str) -> None:
        # The folder is gone when this returns, so it waits until the files are sent.
        if not self._task.upload_artifact(name, artifact_object=folder, wait_on_upload=True):
            raise OSError(f"ClearML did not take the artefact {name!r}.")

    def _mark(self, task: Any, outcome: Outcome) -> None:
        """Say how the run ended, where `Task.close` says that it is complete."""
        if outcome == "failed":
            task.mark_failed(status_reason="The run failed.", status_message=self._error, force=True)
        elif outcome == "interrupted":
            task.mark_stopped(force=True, status_message="The run was interrupted.")

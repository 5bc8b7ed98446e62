"""Sends what a run logs to SwanLab."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from drivetrain.plugin import Image, Outcome, ReporterPlugin, Run, as_float
from drivetrain_swanlab import library, past, settings
from drivetrain_swanlab.listening import Listener

if TYPE_CHECKING:
    from drivetrain import TrainingArguments

STATES: Mapping[Outcome, str] = {
    "finished": "success",
    "failed": "crashed",
    "interrupted": "aborted",
}
"""What SwanLab calls the ends of a run."""


class SwanLab(ReporterPlugin):
    """Numbers, texts and pictures, the arguments as the run's configuration, and how the run ended.

    On SwanLab's service, or in files that are sent later or shown by a dashboard of your own. A run
    that the user began with ``swanlab.init`` is used, and left open.
    """

    Options = settings.SwanLabOptions

    def __init__(self, args: TrainingArguments, options: Any = None) -> None:
        super().__init__(args, options)
        self._users_run: Any = None
        self._run: Any = None
        self._listener = Listener()
        self._last_steps: dict[str, int] = {}
        self._start_step = 0
        self._state: dict[str, Any] = {}
        self._error: str | None = None

    def problems(self) -> Iterable[str]:
        """Refuse a run on the service without a key, and a configuration that swanlab refuses."""
        yield from settings.find_problems(self.args, self.options)

    def warnings(self) -> Iterable[str]:
        """Say that models are not kept."""
        yield from super().warnings()
        if os.environ.get("SWANLAB_LOG_MODEL"):
            yield "`SWANLAB_LOG_MODEL` has no effect: SwanLab keeps no models. Unset it."

    def prepare(self) -> None:
        """Look for a run that the user began; else choose the id of a new one, for checkpoints to keep."""
        self._users_run = None
        self._state = {"id": secrets.token_hex(4)}
        if settings.has_active_run() and self._run is None:
            self._users_run = library.load().get_run()
            self._state = {"id": self._users_run.id}

    def open(self, run: Run) -> None:
        """Begin a run, or go on with the one of `Run.state`, and describe it."""
        self._release()
        self._error = None
        self._last_steps, self._start_step = {}, run.start_step
        if self._users_run is not None:
            self._run = self._users_run
        else:
            self._begin(run)
        self._state = {"id": self._run.id}
        self._run.config.update({"FRAMEWORK": "drivetrain", **run.config, **run.facts})

    def log(self, values: Mapping[str, Any], step: int) -> None:
        """Send the values of an update step."""
        assert self._run is not None, "`log` before `open`"
        self._error = values.get("run/error", self._error)
        new = {key: value for key, value in values.items() if self._is_new(key, step)}
        numbers: dict[str, Any] = {}
        others: dict[str, Any] = {}
        for key, value in new.items():
            number = as_float(value)
            if number is not None:
                numbers[key] = number
            elif (medium := self._as_medium(key, value)) is not None:
                others[key] = medium
        for sent in (numbers, others):
            if sent:
                self._run.log(sent, step=step)

    def close(self, outcome: Outcome) -> None:
        """End the run in SwanLab's state for that, unless it is the user's; wait until all is sent."""
        if self._run is None:
            return
        run, self._run = self._run, None
        if run is self._users_run:
            return
        self._listener.errors = []
        error = None if outcome == "finished" else self._error or outcome
        try:
            with library.unchanged_process():
                run.finish(state=STATES[outcome], error=error)
        finally:
            self._listener.end()
        self._listener.raise_error()

    def state(self) -> Mapping[str, Any]:
        """The run's id."""
        return dict(self._state)

    def _begin(self, run: Run) -> None:
        swanlab = library.load()
        configured = settings.read_settings()
        mode = settings.choose_mode(self.options, configured)
        log_dir = settings.choose_log_dir(self.args, self.options, configured)
        log_dir.parent.mkdir(parents=True, exist_ok=True)
        run_id = run.state.get("id") or configured.run.id or self._state.get("id")
        self._state = {"id": run_id}
        if run.state.get("id") and mode != "online":  # the service knows itself what it has
            self._last_steps = past.read_last_steps(log_dir, str(run_id))
            self.keep_known(run, self._last_steps.values())
        self._listener = Listener()
        self._listener.begin()
        try:
            with library.unchanged_process():
                self._run = swanlab.init(
                    mode=mode,
                    project=settings.choose_project(self.args, configured),
                    workspace=self.options.workspace,
                    public=self.options.public,
                    name=configured.experiment.name or run.name[:512] or None,
                    color=configured.experiment.color or f"#{secrets.token_hex(3)}",
                    tags=self.options.tags,
                    group=self.options.group,
                    job_type=self.options.job_type,
                    description=self.options.notes,
                    log_dir=str(log_dir),
                    id=run_id,
                    resume="allow" if configured.run.resume == "never" else None,
                    settings=self._quiet_settings(swanlab),
                )
        except BaseException:
            self._listener.end()
            raise
        library.forget_at_exit(self._run)
        if mode == "online":
            self._listener.hint = (
                f" What is missing there can be sent later: `swanlab sync {self._run.dir}`."
            )

    def _quiet_settings(self, swanlab: Any) -> Any:
        """Leave alone what nobody asked for: the terminal, prompts, monitors, descriptions of the machine."""
        options, outside = self.options, swanlab.Settings()
        asked = outside.probe.model_fields_set | outside.terminal.model_fields_set
        wanted = {"monitor": options.monitor, "conda": False} | dict.fromkeys(
            ("hardware", "runtime", "requirements", "git", "swanlab"), options.describe_machine
        )
        quiet = {name: value for name, value in wanted.items() if name not in asked}
        chosen: dict[str, Any] = {"interactive": False, "probe": swanlab.Settings.Probe(**quiet)}
        if "proxy_type" not in asked:
            chosen["terminal"] = swanlab.Settings.Terminal(proxy_type="none")
        return swanlab.Settings(**chosen)

    def _is_new(self, key: str, step: int) -> bool:
        return step <= self._start_step or step > self._last_steps.get(key, -1)

    def _as_medium(self, key: str, value: Any) -> Any:
        """A text or a picture as swanlab has it; None, with one warning, for what is neither."""
        swanlab = library.load()
        if isinstance(value, str):
            return swanlab.Text(value)
        if isinstance(value, Image):
            return swanlab.Image(value.pixels, caption=value.caption or None)
        self.leave_out(key, value)
        return None

    def _release(self) -> None:
        if self._run is not None:
            self.close("interrupted")

"""The reporter `trackio`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from drivetrain.plugin import Image, Outcome, ReporterPlugin, Run, as_float, find_missing_library
from drivetrain_trackio.database import count_rows, make_name, read_last_steps
from drivetrain_trackio.library import in_silence, load_trackio
from drivetrain_trackio.options import TrackioOptions, find_problems

if TYPE_CHECKING:
    from drivetrain import TrainingArguments

DEFAULT_PROJECT = "huggingface"
"""The published trainer's."""


class Trackio(ReporterPlugin):
    """Rows in a project's database, with the configuration, and how the run ended.

    A run that the user began (``trackio.init``) is reported to, and left running.
    """

    Options = TrackioOptions

    def __init__(self, args: TrainingArguments, options: Any = None) -> None:
        super().__init__(args, options)
        self._trackio: Any = None
        self._run: Any = None
        self._is_ours = True
        self._identity: dict[str, str] = {}
        self._start_step = 0
        self._last_step = 0
        self._known: dict[str, int] = {}
        self._num_rows = 0
        self._error = ""

    def problems(self) -> Iterable[str]:
        """Say what is known without a network: no library, no login for a Space."""
        missing = list(find_missing_library("trackio", "trackio", "trackio"))
        yield from missing or find_problems(self.options)

    def prepare(self) -> None:
        """Look for a run that the user began."""
        contexts = sys.modules.get("trackio.context_vars")
        self._run = contexts.current_run.get() if contexts is not None else None
        self._is_ours = self._run is None

    def open(self, run: Run) -> None:
        """Begin a run, go on with one, or take over what the user began; describe the training in it."""
        self._start_step = self._last_step = run.start_step
        self._error, self._known = "", {}
        self._trackio = load_trackio()
        with in_silence(self.options.is_local):
            if self._is_ours:
                self._run = self._begin(run)
            else:
                self._run.config.update(_describe(run))
        self._identity = {"project": self._run.project, "name": self._run.name}
        self._num_rows = self._count() if self.options.is_local else 0

    def log(self, values: Mapping[str, Any], step: int) -> None:
        """Add a row, without what the database has of it already."""
        self._error = str(values.get("run/error", self._error))
        new = {name: value for name, value in values.items() if self._is_new(name, step)}
        self._add_row(
            {name: value for name, value in map(self._convert, new.items()) if value is not None}, step
        )

    def close(self, outcome: Outcome) -> None:
        """Note how the run ended, and end it if it is ours.

        Raises:
            RuntimeError: Not all of what was logged is in the database.
        """
        if self._run is None:
            return
        run = self._run
        with in_silence(self.options.is_local):
            try:
                self._add_row({"run/outcome": self._trackio.Markdown(outcome)}, self._last_step)
                if outcome != "finished":
                    level = self._trackio.AlertLevel
                    run.alert(
                        f"The run {outcome}" if outcome == "failed" else "The run was interrupted",
                        self._error or None,
                        level=level.ERROR if outcome == "failed" else level.WARN,
                        step=self._last_step,
                    )
            finally:
                self._run = None
                if self._is_ours:
                    run.finish()
                    self._trackio.context_vars.current_run.set(None)
        if self._is_ours and self.options.is_local:
            self._check_written()

    def state(self) -> Mapping[str, Any]:
        """The project and the name of the run."""
        return dict(self._identity)

    def _begin(self, run: Run) -> Any:
        options = self.options
        project = run.state.get("project") or (
            options.project or os.environ.get("TRACKIO_PROJECT") or self.args.project or DEFAULT_PROJECT
        )
        name = run.state.get("name") or options.name or run.name or "run"
        if options.is_local and not run.state:
            name = make_name(project, name)
        if options.is_local and run.state:
            self._known = read_last_steps(project, name)
            self.keep_known(run, self._known.values())
        begun = self._trackio.init(
            project=project,
            name=name,
            group=options.group,
            space_id=options.space,
            bucket_id=options.bucket_id,
            private=options.private,
            config=_describe(run),
            resume="allow" if run.state else "never",
            embed=False,
            auto_log_gpu=None if options.system_metrics else False,
            auto_log_cpu=None if options.system_metrics else False,
        )
        if run.state and not options.is_local:  # of a server's run, only its last step of all is known
            self.keep_known(run, [begun._next_step - 1])
            self._start_step = max(self._start_step, begun._next_step - 1)
        return begun

    def _is_new(self, name: str, step: int) -> bool:
        if not self.options.is_local and step < self._start_step:
            return False
        return step <= self._start_step or step > self._known.get(name, -1)

    def _add_row(self, values: Mapping[str, Any], step: int) -> None:
        assert self._run is not None, "`log` before `open`"
        if values:
            self._last_step = max(self._last_step, step)
            self._run.log(dict(values), step=step)
            self._num_rows += 1

    def _convert(self, item: tuple[str, Any]) -> tuple[str, Any]:
        """A value as trackio takes it; None, with one warning, if it takes none like it."""
        name, value = item
        number = as_float(value)
        if number is not None:
            return name, number
        if isinstance(value, str):
            return name, self._trackio.Markdown(value)
        if isinstance(value, Image):
            return name, self._trackio.Image(value.pixels, caption=value.caption or None)
        self.leave_out(name, value)
        return name, None

    def _count(self) -> int:
        return count_rows(self._identity["project"], self._identity["name"])

    def _check_written(self) -> None:
        """Trackio writes in a thread of its own, which keeps its errors to itself."""
        if (missing := self._num_rows - self._count()) > 0:
            raise RuntimeError(
                f"{missing} rows of the run {self._identity['name']!r} are not in Trackio's database"
            )


def _describe(run: Run) -> dict[str, Any]:
    facts = {f"model/{name}": value for name, value in run.facts.items()}
    return {name: value for name, value in {**run.config, **facts}.items() if not name.startswith("_")}

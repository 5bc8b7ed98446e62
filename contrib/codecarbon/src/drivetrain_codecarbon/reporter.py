"""Measures what a run takes, with CodeCarbon."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drivetrain.plugin import Outcome, ReporterPlugin, Run, hookimpl
from drivetrain_codecarbon.listening import Listener
from drivetrain_codecarbon.settings import (
    CodeCarbonOptions,
    find_problems,
    is_offline,
    read_configuration,
    tracker_arguments,
)

if TYPE_CHECKING:
    from drivetrain import Trainer, TrainingArguments

logger = logging.getLogger(__name__)

MEASUREMENTS_BETWEEN_WRITES = 4
"""The file is brought up to date with the first log after so many measurements: each minute, by default."""

_WHERE_NOBODY_IS = ("CAN", 46.8, -71.2)
"""The country and the coordinates that codecarbon takes where no service tells it any."""


class CodeCarbon(ReporterPlugin):
    """Energy and emissions of a run, measured by CodeCarbon: a line of emissions.csv.

    It keeps none of the values that are logged: a log is when it brings its file up to date, so that a run
    that is killed leaves what it took. What was measured by then is given to the other reporters as
    ``codecarbon/emissions_kg`` and ``codecarbon/energy_kwh``, the sums since the run began, parts before it
    was resumed included.
    """

    Options = CodeCarbonOptions

    def __init__(self, args: TrainingArguments, options: Any = None) -> None:
        super().__init__(args, options)
        self._tracker: Any = None
        self._listener = Listener(is_alone=True)
        self._next_write = 0.0
        self._seconds_between_writes = 0.0
        self._before: dict[str, float] = {}
        self._totals: dict[str, float] = {}
        self._has_told_the_place = False

    def problems(self) -> Iterable[str]:
        """Refuse a place that CodeCarbon does not know, and one that would not be used.

        Nobody who only leaves ``report_to="all"`` as it is wants a service to be asked where the machine is.
        """
        yield from find_problems(self.options, is_named=self.name in self.args.reporter_names)

    def open(self, run: Run) -> None:
        """Begin to measure."""
        self._release()
        self._before = {name: float(value) for name, value in run.state.items()}
        self._totals = dict(self._before)
        configuration = read_configuration()
        arguments = tracker_arguments(self.args, self.options)
        settings = {**configuration, **arguments}
        Path(settings["output_dir"]).mkdir(parents=True, exist_ok=True)
        every = float(settings.get("measure_power_secs", 15))
        self._seconds_between_writes = MEASUREMENTS_BETWEEN_WRITES * every
        self._next_write = time.monotonic() + self._seconds_between_writes
        library = import_module("codecarbon")
        asks = not is_offline(self.options, configuration)
        make = library.EmissionsTracker if asks else library.OfflineEmissionsTracker
        self._listener = Listener(is_alone="log_level" not in configuration)
        self._listener.begin()
        try:
            self._tracker = self._start(make, arguments)
        except BaseException:
            self._listener.end()
            raise

    def log(self, values: Mapping[str, Any], step: int) -> None:
        """Bring the file up to date from time to time; the values are for other reporters."""
        assert self._tracker is not None, "`log` before `open`"
        if time.monotonic() < self._next_write:
            return
        self._tracker.flush()
        self._next_write = time.monotonic() + self._seconds_between_writes
        self._listener.raise_error()

    def close(self, outcome: Outcome) -> None:
        """Stop measuring and write the last totals; the file has no place for the outcome."""
        tracker = self._tracker
        if tracker is None:
            return
        try:
            tracker.stop()
            self._listener.raise_error()
        finally:
            self._tracker = None
            self._listener.end()

    def state(self) -> Mapping[str, Any]:
        """The totals by now, which those of a resumed run go on from."""
        return dict(self._totals)

    @hookimpl
    def on_log(self, trainer: Trainer) -> None:
        """Give the other reporters the last totals."""
        totals = self._totals
        if self._tracker is not None and totals != self._before:
            trainer.report({f"codecarbon/{name}": value for name, value in totals.items()})

    def _start(self, make: Any, arguments: Mapping[str, Any]) -> Any:
        tracker = make(**arguments, output_handlers=[_Totals(self._note)])
        self._listener.hush()
        self._listener.raise_error()
        tracker.start()
        self._listener.raise_error()
        return tracker

    def _note(self, measured: Any) -> None:
        """Take up the totals that the tracker writes."""
        now = {"emissions_kg": measured.emissions, "energy_kwh": measured.energy_consumed}
        self._totals = {name: self._before.get(name, 0.0) + value for name, value in now.items()}
        place = (measured.country_iso_code, measured.latitude, measured.longitude)
        if place == _WHERE_NOBODY_IS and not self._has_told_the_place:
            self._has_told_the_place = True
            logger.warning(
                "CodeCarbon found no service that tells where this machine is, and reckons with the "
                "electricity of Quebec, which is among the cleanest. Type reporter_args={'codecarbon': "
                "{'country_iso_code': 'FRA'}}, say, or set CODECARBON_COUNTRY_ISO_CODE."
            )

    def _release(self) -> None:
        if self._tracker is not None:
            self.close("interrupted")


class _Totals:
    """An output of the tracker that passes its totals on."""

    def __init__(self, note: Any) -> None:
        self._note = note

    def out(self, total: Any, delta: Any) -> None:
        self._note(total)

    def live_out(self, total: Any, delta: Any) -> None:
        self._note(total)

    def task_out(self, data: Any, experiment_name: str) -> None:
        """There are no tasks."""

    def exit(self) -> None:
        """There is nothing to close."""

"""`profile=True`: torch's profiler over a few updates near the beginning."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch.profiler import ProfilerAction, ProfilerActivity

from drivetrain.hookspecs import hookimpl
from drivetrain.plugin.part import Plugin

if TYPE_CHECKING:
    from drivetrain.state import TrainerState

logger = logging.getLogger(__name__)

_NUM_BEFORE = 2  # updates that are not recorded: one without the profiler, one for it to warm up
_NUM_RECORDED = 3
_NUM_ROWS = 15
_NOT_RECORDING = (ProfilerAction.NONE, ProfilerAction.WARMUP)


class Profiler(Plugin):
    """Records up to three updates, after two, into ``output_dir/profile``: a Chrome trace and a table.

    A run that is too short for that is recorded from an earlier update on. What lies between two updates
    (an evaluation, a checkpoint) belongs to the later one.
    """

    _profiler: torch.profiler.profile | None = None
    _schedule: RecordingSchedule | None = None
    _start_step: int = 0

    @hookimpl
    def on_train_begin(self, state: TrainerState) -> None:
        """Begin, unless there is nothing left to train."""
        self._close()  # left over from a run that was begun again
        num_updates = state.max_steps - state.global_step
        if num_updates <= 0:
            return
        self._start_step = state.global_step
        self._schedule = RecordingSchedule(num_updates)
        self._profiler = torch.profiler.profile(
            activities=_activities(self.args.device), schedule=self._schedule, on_trace_ready=self._write
        )
        self._profiler.start()

    @hookimpl
    def on_step_end(self, state: TrainerState) -> None:
        """Go on to the next update, and be done after the last that is recorded."""
        if self._profiler is None or self._schedule is None:
            return
        self._profiler.step()
        if state.global_step - self._start_step == self._schedule.end:
            self._close()

    @hookimpl
    def on_run_end(self) -> None:
        """Write what was recorded of a run that ended before the last update to record."""
        if self._profiler is not None and self._profiler.current_action in _NOT_RECORDING:
            logger.warning(
                "`profile`: the run ended before the first update to record; there is no trace."
            )
        self._close()

    def _close(self) -> None:
        profiler, self._profiler = self._profiler, None
        if profiler is not None:
            profiler.stop()

    def _write(self, profiler: torch.profiler.profile) -> None:
        assert self._schedule is not None
        first = self._start_step + self._schedule.begin + 1
        folder = Path(self.args.output_dir, "profile")
        folder.mkdir(parents=True, exist_ok=True)
        process = f"-process-{self.args.process_index}" if self.args.world_size > 1 else ""
        trace = folder / f"trace-from-update-{first}{process}.json"
        profiler.export_chrome_trace(str(trace))
        by = "self_cpu_time_total" if self.args.device.type == "cpu" else "self_device_time_total"
        table = profiler.key_averages().table(sort_by=by, row_limit=_NUM_ROWS)
        trace.with_suffix(".txt").write_text(table + "\n", encoding="utf-8")
        logger.info(
            "Profiled from update %d on; the trace is %s (open it in chrome://tracing or ui.perfetto.dev). "
            "The heaviest operators:\n%s",
            first,
            trace,
            table,
        )


class RecordingSchedule:
    """Which updates are recorded, as `torch.profiler.profile` asks for it.

    Args:
        num_updates: Updates in the run, at least one. All of them are recorded rather than none.

    Attributes:
        begin: The first update that is recorded, counted from 0.
        end: The one after the last.
    """

    def __init__(self, num_updates: int) -> None:
        self.begin = min(_NUM_BEFORE, num_updates - 1)
        self.end = min(self.begin + _NUM_RECORDED, num_updates)

    def __call__(self, step: int) -> ProfilerAction:
        """What to do in an update, counted from 0."""
        if step == self.end - 1:
            return ProfilerAction.RECORD_AND_SAVE
        if self.begin <= step < self.end:
            return ProfilerAction.RECORD
        return ProfilerAction.WARMUP if step == self.begin - 1 else ProfilerAction.NONE


def _activities(device: torch.device) -> list[ProfilerActivity]:
    of_device = {"cuda": ProfilerActivity.CUDA, "xpu": ProfilerActivity.XPU}.get(device.type)
    return [ProfilerActivity.CPU] if of_device is None else [ProfilerActivity.CPU, of_device]

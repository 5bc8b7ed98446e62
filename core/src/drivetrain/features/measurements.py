"""What is measured for reporters and progress bars: speed, where an update spends its time, memory."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import torch

from drivetrain.hookspecs import hookimpl
from drivetrain.parallel_wrappers import unwrap
from drivetrain.plugin.part import Plugin

if TYPE_CHECKING:
    from drivetrain.arguments import TrainingArguments
    from drivetrain.trainer import Trainer

PHASES = ("data", "forward", "backward", "optimizer")
"""What an update consists of: waiting for its micro-batches, and what is done with them. Clipping is part of
the optimizer's phase."""

_PAGE_FILE = Path("/proc/self/statm")
_MEGABYTE = 2**20


class Measurements(Plugin):
    """Measures the updates between two logs, without reading anything from the device meanwhile.

    On a CUDA device the phases are those of the device, told by events in its queue, of the first updates
    after each log; elsewhere those of the host, of all updates. Callbacks, logs, evaluations and
    checkpoints are no part of any.
    """

    def __init__(self, args: TrainingArguments, options: Any = None) -> None:
        super().__init__(args, options)
        self._clock = HostClock()
        self._mark: Callable[[str | None], None] = self._clock.mark
        self._device_clock: DeviceClock | None = None
        self._main_input = "input_ids"
        self._num_samples = self._num_tokens = 0
        self._step = -1
        self._values: dict[str, float] = {}
        self._loop: Any = None

    @property
    def tokens_per_second(self) -> float | None:
        """Tokens trained a second in the updates before the last log, on all processes; None: not known."""
        return self._values.get("perf/tokens_per_second")

    @property
    def samples_per_second(self) -> float | None:
        """Samples trained a second in the updates before the last log, on all processes; None: not known."""
        return self._values.get("perf/samples_per_second")

    @hookimpl
    def on_train_begin(self, trainer: Trainer) -> None:
        """Begin to measure."""
        self._loop = trainer.training_loop
        self._main_input = getattr(unwrap(trainer.model), "main_input_name", "input_ids")
        is_cuda = _is_cuda(trainer.args.device)
        self._device_clock = DeviceClock() if is_cuda else None
        self._mark = self._mark_both if is_cuda else self._clock.mark
        self._step, self._values = -1, {}
        self._begin_again()

    @hookimpl
    def on_backward_begin(self) -> None:
        """A micro-batch has its loss."""
        self._mark("forward")

    @hookimpl
    def on_backward_end(self) -> None:
        """A micro-batch has its gradients."""
        self._mark("backward")

    @hookimpl
    def on_step_end(self) -> None:
        """An update is done."""
        self._mark("optimizer")

    @hookimpl
    def on_run_end(self) -> None:
        """Keep nothing of the run alive."""
        self._loop = None

    def watch(self, batches: Iterator[Any]) -> Iterator[Any]:
        """The same batches, counted, and with the time that it took to get them."""
        return _Watched(self, batches)

    def next_of(self, batches: Iterator[Any]) -> Any:
        """The next batch."""
        self._mark(None)
        batch = next(batches)
        self._mark("data")
        self._count(batch)
        return batch

    @contextmanager
    def reading(self) -> Iterator[None]:
        """While what was computed is read from the device, which may have to finish it first."""
        self._clock.mark(None)
        yield
        self._clock.mark("device")

    def values(self, step: int) -> dict[str, float]:
        """What was measured since the last log, by the names that reporters get.

        Args:
            step: The update that is logged: whoever asks for it again gets the same.
        """
        if step != self._step:
            self._step = step
            self._values = {**self._speed(), **self._shares(), **memory_in_use(self.args.device)}
            if self._loop is not None:
                self._values["perf/non_finite_losses"] = self._loop.meter.num_non_finite
            self._begin_again()
        return self._values

    def _mark_both(self, phase: str | None) -> None:
        assert self._device_clock is not None
        self._clock.mark(phase)
        self._device_clock.mark(phase)

    def _count(self, batch: Any) -> None:
        main = batch.get(self._main_input) if isinstance(batch, (dict, Mapping)) else None
        if not isinstance(main, torch.Tensor):
            main = _first_tensor(batch)
        elif main.ndim == 2 and not main.is_floating_point():
            self._num_tokens += main.numel()
        if main is not None and main.ndim > 0:
            self._num_samples += main.shape[0]

    def _speed(self) -> dict[str, float]:
        seconds = sum(self._clock.seconds.values())
        counts = {"samples": self._num_samples, "tokens": self._num_tokens}
        return {
            f"perf/{what}_per_second": count * self.args.world_size / seconds
            for what, count in counts.items()
            if count and seconds > 0
        }

    def _shares(self) -> dict[str, float]:
        clock = self._device_clock or self._clock
        seconds = clock.take()
        total = sum(seconds[phase] for phase in PHASES)
        if not total > 0:
            return {}
        return {f"perf/{phase}_share": seconds[phase] / total for phase in PHASES}

    def _begin_again(self) -> None:
        self._num_samples = self._num_tokens = 0
        self._clock.take()
        if self._device_clock is not None:
            self._device_clock.take()


class _Watched(Iterator[Any]):
    """An iterator that goes on after an error in the data, as the one that it watches does."""

    def __init__(self, measurements: Measurements, batches: Iterator[Any]) -> None:
        self._measurements = measurements
        self._batches = batches

    def __next__(self) -> Any:
        return self._measurements.next_of(self._batches)


def _first_tensor(batch: Any) -> torch.Tensor | None:
    if isinstance(batch, torch.Tensor):
        return batch
    things = batch.values() if isinstance(batch, (dict, Mapping)) else batch
    if not isinstance(things, Iterable):
        return None
    return next((thing for thing in things if isinstance(thing, torch.Tensor)), None)


class HostClock:
    """How long the host was in each phase, and waited for the device besides."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys((*PHASES, "device"), 0.0)
        self._last = perf_counter()

    def mark(self, phase: str | None) -> None:
        """A phase is over, or something that is none."""
        now = perf_counter()
        if phase is not None:
            self.seconds[phase] += now - self._last
        self._last = now

    def take(self) -> dict[str, float]:
        """Seconds by phase since the last time."""
        seconds, self.seconds = self.seconds, dict.fromkeys(self.seconds, 0.0)
        return seconds


class DeviceClock:
    """How long the CUDA device was in each phase: events in its queue, which nobody waits for."""

    MOST_EVENTS = 256

    def __init__(self) -> None:
        self._events: list[tuple[str | None, torch.cuda.Event]] = []

    def mark(self, phase: str | None) -> None:
        """Put an event into the queue, unless there are enough."""
        if len(self._events) < self.MOST_EVENTS:
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            self._events.append((phase, event))

    def take(self) -> dict[str, float]:
        """Seconds by phase of those updates that the device is done with."""
        seconds = dict.fromkeys(PHASES, 0.0)
        events, self._events = self._events, []
        for (_, before), (phase, event) in itertools.pairwise(events):
            if phase is not None and event.query():
                seconds[phase] += before.elapsed_time(event) / 1000
        return seconds


def _is_cuda(device: torch.device) -> bool:
    return device.type == "cuda" and torch.cuda.is_available()


def memory_in_use(device: torch.device) -> dict[str, float]:
    """Megabytes (2**20 bytes) of this process, and at most on the device since it began."""
    memory = {"perf/memory_mb": _resident_megabytes()}
    if _is_cuda(device):
        memory["perf/device_memory_peak_mb"] = torch.cuda.max_memory_allocated(device) / _MEGABYTE
    return {name: value for name, value in memory.items() if math.isfinite(value)}


def _resident_megabytes() -> float:
    """Memory of this process that is not swapped out; NaN where there is no way to ask."""
    try:
        import resource

        pages = int(_PAGE_FILE.read_text(encoding="ascii").split()[1])
        return pages * resource.getpagesize() / _MEGABYTE
    except (OSError, ImportError):  # no Linux
        pass
    try:
        import psutil
    except ImportError:
        return math.nan
    return float(psutil.Process().memory_info().rss / _MEGABYTE)

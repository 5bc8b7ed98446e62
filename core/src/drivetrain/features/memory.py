"""`skip_memory_metrics=False`: how much memory each stage of a run took."""

from __future__ import annotations

import gc
import importlib.util
import threading
import weakref
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import torch

from drivetrain.hookspecs import hookimpl
from drivetrain.plugin.part import Plugin

if TYPE_CHECKING:
    from drivetrain.arguments import TrainingArguments
    from drivetrain.trainer import Trainer

_SECONDS_BETWEEN_SAMPLES = 0.002


class MemoryMetrics(Plugin):
    """Measures making the trainer, training, evaluation and prediction, on the first process.

    A stage within another (an evaluation while training) is part of the outer one: there is one counter of
    the peak, which a measurement resets. What making the trainer took is added to the first stage that ends.
    """

    def __init__(self, args: TrainingArguments, options: object = None) -> None:
        super().__init__(args, options)
        self._stages: list[str] = []
        self._measurement: StageMemory | None = None
        self._guard: weakref.finalize[..., MemoryMetrics] | None = None
        self._found: dict[str, int] = {}
        if _has_psutil() and args.process_index == 0:
            self._found = self._begin().at_begin("before_init")

    def problems(self) -> Iterable[str]:
        """Say what reads the memory of a process, where that is missing."""
        if not _has_psutil():
            yield (
                "`skip_memory_metrics`: False needs psutil, which is not installed. "
                "Type: pip install psutil, or leave `skip_memory_metrics` out."
            )

    @hookimpl
    def on_init_end(self) -> None:
        """The trainer was made."""
        self._found = {**self._end("init"), **self._found}

    @hookimpl
    def on_stage_begin(self, trainer: Trainer, stage: str) -> None:
        """Begin to measure, unless it is measured already."""
        is_outermost = stage == "train" or not trainer.is_in_train
        if is_outermost:
            self._stages = []  # whatever an error left there
        self._stages.append(stage)
        if is_outermost and self.args.process_index == 0:
            self._begin()

    @hookimpl
    def on_stage_end(self, stage: str, metrics: dict[str, float]) -> None:
        """Add what was measured, if this is the outermost stage."""
        while self._stages and self._stages.pop() != stage:
            pass  # an inner stage that an error ended, and that was caught
        if not self._stages and self.args.process_index == 0:
            metrics.update({**self._found, **self._end(stage)})
            self._found = {}

    @hookimpl
    def on_stage_failed(self, trainer: Trainer, stage: str) -> None:
        """Stop measuring an evaluation that an error ended, unless it was part of a training."""
        if not trainer.is_in_train:
            self._stages.clear()
            self._end(stage)

    @hookimpl
    def on_run_end(self) -> None:
        """Stop measuring a training that an error ended."""
        self._end("train")

    def _begin(self) -> StageMemory:
        self._end("")
        gc.collect()  # or what is left of earlier trainers would be counted when it goes
        self._measurement = StageMemory(self.args.device)
        # Or the thread would outlive a trainer that could not be made, or whose evaluation failed.
        self._guard = weakref.finalize(self, self._measurement.stopping.set)
        return self._measurement

    def _end(self, stage: str) -> dict[str, int]:
        measurement, self._measurement = self._measurement, None
        if measurement is None:
            return {}
        if self._guard is not None:
            self._guard.detach()
        return measurement.end(stage)


class StageMemory:
    """Memory since it was made: resident memory of the process, and what torch allocated on the first GPU.

    The peak of resident memory is that of samples which a thread takes: it can miss a short one.

    Attributes:
        stopping: Set, it stops the thread.
    """

    def __init__(self, device: torch.device) -> None:
        self._read = _resident_memory_reader()
        self._has_gpu = device.type == "cuda"
        if self._has_gpu:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(0)
        self._cpu = self._read()
        self._gpu = torch.cuda.memory_allocated(0) if self._has_gpu else 0
        self._peak = self._cpu
        self.stopping = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="drivetrain-memory", daemon=True)
        self._thread.start()

    def at_begin(self, stage: str) -> dict[str, int]:
        """What was in use when it was made, in bytes."""
        used = {f"{stage}_mem_cpu": self._cpu}
        return {**used, f"{stage}_mem_gpu": self._gpu} if self._has_gpu else used

    def end(self, stage: str) -> dict[str, int]:
        """Stop measuring.

        Returns:
            For ``cpu`` and ``gpu``, in bytes: ``<stage>_mem_..._alloc_delta``, by how much more is in use
            than at the beginning; ``..._peaked_delta``, by how much more than at the end once was.
        """
        self.stopping.set()
        self._thread.join()
        gc.collect()
        used = self._read()
        deltas = _deltas(f"{stage}_mem_cpu", self._cpu, used, self._peak)
        if self._has_gpu:
            used, peak = torch.cuda.memory_allocated(0), torch.cuda.max_memory_allocated(0)
            deltas.update(_deltas(f"{stage}_mem_gpu", self._gpu, used, peak))
        return deltas

    def _sample(self) -> None:
        while not self.stopping.wait(_SECONDS_BETWEEN_SAMPLES):
            self._peak = max(self._peak, self._read())


def _deltas(name: str, at_begin: int, at_end: int, peak: int) -> dict[str, int]:
    return {f"{name}_alloc_delta": at_end - at_begin, f"{name}_peaked_delta": max(0, peak - at_end)}


def _has_psutil() -> bool:
    return importlib.util.find_spec("psutil") is not None


def _resident_memory_reader() -> Callable[[], int]:
    import psutil

    process = psutil.Process()
    return lambda: int(process.memory_info().rss)

"""`debug="underflow_overflow"`: where a number stops being one. `DebugUnderflowOverflow` does it by hand."""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from drivetrain.hookspecs import hookimpl
from drivetrain.plugin.part import Plugin

if TYPE_CHECKING:
    from drivetrain.trainer import Trainer

logger = logging.getLogger(__name__)


class OverflowDetection(Plugin):
    """Watches the model while it is trained, its evaluations in between included."""

    _watch: DebugUnderflowOverflow | None = None

    @hookimpl
    def on_train_begin(self, trainer: Trainer) -> None:
        """Begin to watch."""
        self._stop_watching()  # left over from a run that was begun again
        self._watch = DebugUnderflowOverflow(trainer.model)

    @hookimpl
    def on_run_end(self) -> None:
        """Leave the model as it was found."""
        self._stop_watching()

    def _stop_watching(self) -> None:
        if self._watch is not None:
            self._watch.remove()
        self._watch = None


@dataclass(frozen=True)
class Measurement:
    """The smallest and largest absolute value of a tensor.

    Attributes:
        name: Which tensor it is: ``"weight 'bias'"``, ``"input 0"``, ``"output 'logits'"``.
        smallest: The smallest; not a number if any is none.
        largest: The largest, infinite or not a number if any is.
    """

    name: str
    smallest: float
    largest: float

    @property
    def is_finite(self) -> bool:
        """Whether all of the tensor's numbers are finite."""
        return math.isfinite(self.largest)

    def __str__(self) -> str:
        return f"{self.smallest:10.2e} {self.largest:10.2e}  {self.name}"


@dataclass(frozen=True)
class Frame:
    """One call of a module's forward: what went in, what came out, and the module's own weights."""

    batch: int
    path: str
    kind: str
    measurements: tuple[Measurement, ...]

    @property
    def title(self) -> str:
        """The module's path in the model, and its class."""
        return f"{self.path or 'the model itself'} ({self.kind})"

    def __str__(self) -> str:
        return "\n".join([f"batch {self.batch}, {self.title}", *map(str, self.measurements)])


class DebugUnderflowOverflow:
    """Looks at weights, inputs and outputs of every module, and stops at the first inf or nan.

    From then on each forward pass of a module is a frame: the smallest and largest absolute values of its
    weights, of the tensors among its positional inputs, and of those that it returns. When a number is not
    finite, the last frames are logged as an error, and the module is named in the error that is raised.
    A maximum near 6e4 before that says that float16 overflowed; minima that are all 0 say that it
    underflowed. Reading these numbers from a GPU costs time: it is for debugging.

    Args:
        model: The model to watch. Each of its own forward passes is a batch, counted from 0.
        max_frames_to_save: How many frames are kept and reported.
        trace_batch_nums: Batches whose frames are all logged. Nothing is looked for in these.
        abort_after_batch_num: Raise an error when the batch after this one begins.

    Raises:
        FloatingPointError: Out of a forward pass: a number is not finite.
        ValueError: Out of a forward pass: the batch after ``abort_after_batch_num`` began.

    Example:
        >>> watch = DebugUnderflowOverflow(model, trace_batch_nums=[1, 3])
        >>> model(**batch)
        >>> watch.remove()
    """

    def __init__(
        self,
        model: nn.Module,
        max_frames_to_save: int = 21,
        trace_batch_nums: Collection[int] | None = (),
        abort_after_batch_num: int | None = None,
    ) -> None:
        self.model = model
        self.trace_batch_nums = frozenset(trace_batch_nums or ())
        self.abort_after_batch_num = abort_after_batch_num
        self.batch_number = -1
        self.frames: deque[Frame] = deque(maxlen=max_frames_to_save)
        self._paths = {module: path for path, module in model.named_modules()}
        self._handles = [module.register_forward_hook(self._look) for module in self._paths]
        self._handles.append(model.register_forward_pre_hook(self._begin_batch))

    def remove(self) -> None:
        """Stop watching the model."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def _begin_batch(self, module: nn.Module, inputs: Any) -> None:
        self.batch_number += 1
        last = self.abort_after_batch_num
        if last is not None and self.batch_number > last:
            raise ValueError(
                f"`abort_after_batch_num`: batch {last} is done, and was to be the last. Leave it out to "
                "go on."
            )

    def _look(self, module: nn.Module, inputs: Any, outputs: Any) -> None:
        frame = Frame(
            batch=max(self.batch_number, 0),
            path=self._paths[module],
            kind=type(module).__name__,
            measurements=tuple(_measure(dict(_tensors_of(module, inputs, outputs)))),
        )
        if frame.batch in self.trace_batch_nums:
            logger.warning("%s", frame)
            return
        self.frames.append(frame)
        broken = [measurement for measurement in frame.measurements if not measurement.is_finite]
        if broken:
            self._stop(frame, broken)

    def _stop(self, frame: Frame, broken: list[Measurement]) -> None:
        what = ", ".join(f"{measurement.name} ({measurement.largest})" for measurement in broken)
        report = "\n\n".join(map(str, self.frames))
        logger.error(
            "Not finite: %s of %s, in batch %d. Smallest and largest absolute values of the last %d "
            "frames, in the order in which they ended:\n\n%s",
            what,
            frame.title,
            frame.batch,
            len(self.frames),
            report,
        )
        raise FloatingPointError(
            f"Not finite: {what} of {frame.title}, in batch {frame.batch} since the model is watched. What "
            "led to it was logged as an error. Usual causes: a learning rate that is too large, samples that "
            "are not finite themselves, fp16 where the model was made for bf16."
        )


def _tensors_of(module: nn.Module, inputs: Any, outputs: Any) -> Iterator[tuple[str, torch.Tensor]]:
    for name, parameter in module.named_parameters(recurse=False):
        yield f"weight {name!r}", parameter
    yield from _walk("input", inputs)
    yield from _walk("output", outputs)


def _walk(name: str, values: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """The tensors of real or complex numbers in nested values, with where they are."""
    if isinstance(values, torch.Tensor):
        if (values.is_floating_point() or values.is_complex()) and values.numel():
            yield name, values
    elif isinstance(values, Mapping):
        for key, value in values.items():
            yield from _walk(f"{name} {key!r}", value)
    elif isinstance(values, (list, tuple)):
        for index, value in enumerate(values):
            yield from _walk(f"{name} {index}", value)


@torch.no_grad()
def _measure(tensors: Mapping[str, torch.Tensor]) -> Iterator[Measurement]:
    """Smallest and largest absolute values, read from the device at once."""
    if not tensors:
        return
    extremes = [_extremes(tensor.detach()) for tensor in tensors.values()]
    device = extremes[0].device
    rows = torch.stack([extreme.to(device) for extreme in extremes]).tolist()
    for name, (smallest, largest) in zip(tensors, rows, strict=True):
        yield Measurement(name, smallest, largest)


def _extremes(tensor: torch.Tensor) -> torch.Tensor:
    absolute = (tensor.float() if tensor.itemsize == 1 else tensor).abs()  # 8 bits: no arithmetic
    return torch.stack(torch.aminmax(absolute)).to(torch.promote_types(absolute.dtype, torch.float32))

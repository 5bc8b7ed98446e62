"""`jit_mode_eval`: evaluations run a trace of the model, made by torch.jit."""

from __future__ import annotations

import inspect
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from drivetrain.data.devices import map_tensors
from drivetrain.features.forwards import ReplacedForward
from drivetrain.hookspecs import hookimpl
from drivetrain.plugin.part import Plugin

if TYPE_CHECKING:
    from drivetrain.trainer import Trainer

logger = logging.getLogger(__name__)


class Tracing(Plugin):
    """Traces the model's forward in each evaluation, and runs the trace.

    A trace is right for inputs of one shape: there is one for each combination of shapes, made when that
    comes for the second time. The model itself computes what comes once, such as a smaller last batch,
    and everything if it cannot be traced: that is said once, with the reason.
    """

    _traced: _TracedForward | None = None
    _was_said = False

    def problems(self) -> Iterator[str]:
        """Refuse weights that are spread over processes: gathering them is no part of a trace."""
        for name in ("fsdp", "deepspeed"):
            if getattr(self.args, name) or self.args.strategy == name:
                yield (
                    "`jit_mode_eval`: True cannot trace a model whose weights are spread over processes, as "
                    f"`{name}` does. Leave it out."
                )

    @hookimpl
    def on_evaluation_begin(self, trainer: Trainer) -> None:
        """Run traces from now on."""
        self._traced = _TracedForward(trainer.model)

    @hookimpl
    def on_evaluation_end(self) -> None:
        """Have the model compute itself again, and say if it did all the time."""
        traced, self._traced = self._traced, None
        if traced is None:
            return
        traced.replaced.restore()
        if traced.reason is not None and not self._was_said:
            self._was_said = True
            logger.warning(
                "`jit_mode_eval`: %s cannot be traced, and is evaluated as it is: %s",
                type(traced.model).__name__,
                traced.reason,
            )


class _CannotTrace(Exception):
    """A trace would compute something else than the model; the text says why."""


class _TracedForward:
    """A forward that runs traces where it has them.

    Attributes:
        replaced: The model's own forward, out of its place.
        reason: Why the model cannot be traced; None as long as it can.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.reason: str | None = None
        self.__signature__ = inspect.signature(model.forward)
        self.replaced = ReplacedForward(model, self)
        self._traces: dict[Any, _Trace | None] = {}

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Compute a batch."""
        forward = self.replaced.original
        if self.reason is not None:
            return forward(*args, **kwargs)
        try:
            inputs = _Inputs(args, kwargs)
            if inputs.signature not in self._traces:
                self._traces[inputs.signature] = None
                return forward(*args, **kwargs)
            trace = self._traces[inputs.signature]
            if trace is None:
                self._traces[inputs.signature] = trace = self._make(inputs)
        except _CannotTrace as error:
            self.reason = str(error)
            return forward(*args, **kwargs)
        return trace.run(inputs)

    def _make(self, inputs: _Inputs) -> _Trace:
        self.replaced.restore()
        try:
            return _Trace(self.model, inputs)
        finally:
            self.replaced = ReplacedForward(self.model, self)


class _Inputs:
    """A batch taken apart into its tensors and what remains.

    Attributes:
        tensors: The tensors.
        signature: What a trace is made for: their names, shapes and formats, and all that is no tensor.
    """

    def __init__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        named: dict[Any, Any] = {**dict(enumerate(args)), **kwargs}
        self._names = [name for name, value in named.items() if isinstance(value, torch.Tensor)]
        self._fixed = {name: value for name, value in named.items() if name not in self._names}
        for name, value in self._fixed.items():
            if not isinstance(value, (bool, int, float, str, type(None))):
                raise _CannotTrace(f"its input {name!r} is a {type(value).__name__}, no tensor.")
        self.tensors = tuple(named[name] for name in self._names)
        described = tuple((t.shape, t.dtype, t.device) for t in self.tensors)
        self.signature = (tuple(self._names), described, tuple(self._fixed.items()))

    def call(self, forward: Callable[..., Any], tensors: tuple[torch.Tensor, ...]) -> Any:
        """Call a forward with other tensors in the places of these."""
        named = {**dict(zip(self._names, tensors, strict=True)), **self._fixed}
        args = [named[name] for name in sorted(n for n in named if isinstance(n, int))]
        return forward(*args, **{name: value for name, value in named.items() if isinstance(name, str)})


class _Trace:
    """A model traced with a batch. It runs for batches of the same signature."""

    def __init__(self, model: nn.Module, inputs: _Inputs) -> None:
        adapter = _Adapter(model, inputs)
        watch = _ValuesRead()
        try:
            with _as_traced(), watch:
                self._run = torch.jit.trace(adapter, inputs.tensors, check_trace=False)
        except _CannotTrace:
            raise
        except Exception as error:  # whatever the model's code and torch's tracer do not agree on
            raise _CannotTrace(f"{type(error).__name__}: {error}") from error
        if watch.read is not None:
            raise _CannotTrace(
                f"its forward reads values of tensors ({watch.read}), by which it may compute otherwise."
            )
        self._structure = adapter.structure

    def run(self, inputs: _Inputs) -> Any:
        """Compute a batch."""
        tensors = iter(self._run(*inputs.tensors))
        return map_tensors(lambda _: next(tensors), self._structure)


class _Adapter(nn.Module):
    """What is traced: takes and returns nothing but tensors."""

    def __init__(self, model: nn.Module, inputs: _Inputs) -> None:
        super().__init__()
        self.model = model
        self.structure: Any = None
        self._inputs = inputs

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The tensors among the model's outputs; what they are parts of is kept."""
        outputs = self._inputs.call(self.model.forward, tensors)
        found: list[torch.Tensor] = []

        def take_out(tensor: torch.Tensor) -> torch.Tensor:
            found.append(tensor)
            return torch.empty(0)  # which says where it was

        self.structure = map_tensors(take_out, outputs)
        _refuse_objects(self.structure)
        return tuple(found)


def _refuse_objects(outputs: Any) -> None:
    """Refuse what may hold tensors, or come out otherwise for another batch."""
    if isinstance(outputs, dict):
        outputs = list(outputs.values())
    if isinstance(outputs, (list, tuple)):
        for member in outputs:
            _refuse_objects(member)
    elif not isinstance(outputs, (torch.Tensor, type(None))):
        raise _CannotTrace(f"it returns a {type(outputs).__name__} among its outputs.")


@contextmanager
def _as_traced() -> Iterator[None]:
    """Warnings of torch's tracer are left out, and weights that autocast has cast are not kept in a trace.

    The tracer warns that it is deprecated, that values are read (which is looked at here), and of
    whatever properties of the model that it touches warn of.
    """
    is_cached = torch.is_autocast_cache_enabled()
    torch.set_autocast_cache_enabled(False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.set_autocast_cache_enabled(is_cached)


_READERS = frozenset(
    [
        *("__bool__", "__int__", "__float__", "__index__", "__complex__", "__array__", "__contains__"),
        *("item", "tolist", "numpy", "is_nonzero", "equal", "allclose"),
    ]
)
_SHAPES = frozenset(["size", "numel", "__len__", "dim", "stride"])


class _ValuesRead(TorchFunctionMode):
    """Sees a forward turn values of tensors into those of Python, which a trace would hold for ever.

    Sizes are tensors, too, while a model is traced. To read those is right, for a trace is used for
    inputs of the same shapes only.

    Attributes:
        read: The function that read a value; None if none did.
    """

    def __init__(self) -> None:
        super().__init__()
        self.read: str | None = None
        self._sizes: dict[int, torch.Tensor] = {}  # kept, so that no other gets the same id

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call the function, and note what it reads or which sizes it returns."""
        result = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        given = list(_tensors_in((args, kwargs or {})))
        is_of_sizes = bool(given) and all(id(tensor) in self._sizes for tensor in given)
        if name in _READERS and not is_of_sizes:
            self.read = self.read or name
        is_shape = name in _SHAPES or func == torch.Tensor.shape.__get__  # type: ignore[attr-defined]
        if is_shape or is_of_sizes:
            self._sizes.update((id(tensor), tensor) for tensor in _tensors_in(result))
        return result


def _tensors_in(data: Any) -> Iterator[torch.Tensor]:
    if isinstance(data, torch.Tensor):
        yield data
    elif isinstance(data, dict):
        yield from _tensors_in(tuple(data.values()))
    elif isinstance(data, (list, tuple)):
        for member in data:
            yield from _tensors_in(member)

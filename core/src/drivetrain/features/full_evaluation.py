"""`bf16_full_eval` and `fp16_full_eval`: evaluations with weights in 16 bits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import nn

from drivetrain.data.devices import to_float32
from drivetrain.hookspecs import hookimpl
from drivetrain.plugin.part import Plugin
from drivetrain_registry import UsageError

if TYPE_CHECKING:
    from torch.utils.hooks import RemovableHandle

    from drivetrain.trainer import Trainer


class FullEvaluation(Plugin):
    """Has weights in another number format for the time of an evaluation or a prediction.

    All parameters and buffers with floating point are cast, and so are the model's inputs, labels
    excepted; what it returns is cast to float32. Parameters stay the objects that they are, and have
    afterwards the very values that they had: the weights are there twice meanwhile.

    Attributes:
        dtype: The format.
    """

    dtype: ClassVar[torch.dtype]
    _originals: tuple[tuple[torch.Tensor, torch.Tensor], ...] = ()
    _handles: tuple[RemovableHandle, ...] = ()
    _label_names: tuple[str, ...] = ()

    def problems(self) -> Iterator[str]:
        """Refuse weights that are spread over processes: what is here are pieces, kept track of elsewhere."""
        for name in ("fsdp", "deepspeed"):
            if getattr(self.args, name) or self.args.strategy == name:
                yield (
                    f"`{self.option}`: True cannot cast the weights that `{name}` spreads over processes. "
                    "Type bf16=True, which computes in 16 bits in training and evaluation."
                )

    @hookimpl
    def on_evaluation_begin(self, trainer: Trainer) -> None:
        """Cast the weights."""
        self._label_names = tuple(trainer.label_names)
        self._handles = (
            trainer.model.register_forward_pre_hook(self._cast_inputs, with_kwargs=True),
            trainer.model.register_forward_hook(_cast_outputs),
        )
        self._originals = tuple((tensor, tensor.data) for tensor in _tensors_to_cast(trainer.model))
        for tensor, original in self._originals:
            tensor.data = original.to(self.dtype)

    @hookimpl
    def on_evaluation_end(self) -> None:
        """Put back the weights as they were."""
        self._restore()

    @hookimpl
    def on_run_end(self) -> None:
        """Put them back, too, if another part kept the evaluation from ending."""
        self._restore()

    def _restore(self) -> None:
        for tensor, original in self._originals:
            tensor.data = original
        for handle in self._handles:
            handle.remove()
        self._originals, self._handles = (), ()

    def _cast_inputs(
        self, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        keep = self._label_names
        named = {name: value if name in keep else self._cast(value) for name, value in kwargs.items()}
        return tuple(self._cast(value) for value in args), named

    def _cast(self, value: Any) -> Any:
        is_floating = isinstance(value, torch.Tensor) and value.is_floating_point()
        return value.to(self.dtype) if is_floating else value


class BFloat16Evaluation(FullEvaluation):
    """Evaluations with weights in bfloat16."""

    dtype = torch.bfloat16


class Float16Evaluation(FullEvaluation):
    """Evaluations with weights in float16."""

    dtype = torch.float16


def _tensors_to_cast(model: nn.Module) -> Iterator[torch.Tensor]:
    for tensor in (*model.parameters(), *model.buffers()):
        if hasattr(tensor, "placements"):
            raise UsageError(
                "`bf16_full_eval` and `fp16_full_eval`: the weights are spread over processes, and cannot be "
                "cast for an evaluation. Type bf16=True instead, which computes in 16 bits."
            )
        if tensor.is_floating_point() and tensor.element_size() > 1:  # 8 bits are a format of their own
            yield tensor


def _cast_outputs(model: nn.Module, args: Any, outputs: Any) -> Any:
    return to_float32(outputs)

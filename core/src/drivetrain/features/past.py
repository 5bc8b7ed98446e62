"""`past_index`: an output of one step is handed to the next as `mems` (Transformer-XL, XLNet)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import nn

from drivetrain.checkpoint.tensors import load_tensors, save_tensors
from drivetrain.data.columns import forward_parameters, has_keyword_parameters
from drivetrain.data.devices import map_tensors
from drivetrain.data.lengths import batch_size_of
from drivetrain.hookspecs import hookimpl
from drivetrain.plugin.part import Plugin
from drivetrain_registry import UsageError

if TYPE_CHECKING:
    from torch.utils.hooks import RemovableHandle

    from drivetrain.state import TrainerState
    from drivetrain.trainer import Trainer

_FILE = "past_states.pt"


class _Past(NamedTuple):
    """What one batch leaves to the next, and how many samples it had."""

    mems: Any
    num_samples: int | None


class PastStates(Plugin):
    """Hands on the output ``past_index`` of the model's forward, without gradients, as ``mems``.

    It counts from 0 among the outputs in training, the loss included; where forward gets no labels and
    returns no loss, it is one less. What is handed on is forgotten at the beginning of each epoch, and
    before a batch of another size (a smaller last one, say). An evaluation begins without, and training
    goes on after it with what it had. Checkpoints hold it.
    """

    _handles: tuple[RemovableHandle, ...] = ()
    _past: _Past | None = None
    _of_training: _Past | None = None
    _of_checkpoint: _Past | None = None
    _num_samples: int | None = None
    _has_loss = True

    def problems(self) -> Iterator[str]:
        """Refuse an evaluation that is traced, which would hold the same states for all batches."""
        if self.args.jit_mode_eval:
            yield (
                f"`past_index`: {self.args.past_index} hands states from batch to batch, and "
                "`jit_mode_eval`=True cannot. Set one of them."
            )

    @hookimpl
    def on_train_begin(self, trainer: Trainer) -> None:
        """Begin to hand on states.

        Raises:
            UsageError: The model's forward takes no ``mems``.
        """
        self._past = None
        self._detach()  # from the model of a run that begins again
        self._attach(trainer)

    @hookimpl
    def on_epoch_begin(self, state: TrainerState) -> None:
        """Forget the states, unless a checkpoint within the epoch held some."""
        is_within = state.epoch is not None and not float(state.epoch).is_integer()
        self._past = self._of_checkpoint if is_within else None
        self._of_checkpoint = None

    @hookimpl
    def on_evaluation_begin(self, trainer: Trainer) -> None:
        """Put aside the training's states."""
        self._of_training, self._past = self._past, None
        self._attach(trainer)

    @hookimpl
    def on_evaluation_end(self, trainer: Trainer) -> None:
        """Go on with the training's states."""
        self._past, self._of_training = self._of_training, None
        if not trainer.is_in_train:
            self._detach()

    @hookimpl
    def on_run_end(self) -> None:
        """Forget the states and leave the model alone."""
        self._past = None
        self._detach()

    @hookimpl
    def write_checkpoint(self, folder: Path) -> None:
        """Keep the states, with which the next update goes on."""
        if self._past is not None:
            save_tensors(self._past._asdict(), folder / _FILE)

    @hookimpl
    def read_checkpoint(self, trainer: Trainer, folder: Path) -> None:
        """Take the states up again."""
        self._of_checkpoint = None
        if (folder / _FILE).is_file():
            past = _Past(**load_tensors(folder / _FILE))
            mems = map_tensors(lambda tensor: tensor.to(trainer.args.device), past.mems)
            self._of_checkpoint = past._replace(mems=mems)

    def _attach(self, trainer: Trainer) -> None:
        if self._handles:
            return
        model = trainer.model
        if "mems" not in forward_parameters(model) and not has_keyword_parameters(model):
            raise UsageError(
                f"`past_index`: {self.args.past_index} hands states to the model as `mems`, which is no "
                f"parameter of {type(model).__name__}.forward ({', '.join(forward_parameters(model))}). "
                "Leave it out, or give forward that parameter."
            )
        self._has_loss = trainer.compute_loss_func is None and trainer.label_smoother is None
        self._handles = (
            model.register_forward_pre_hook(self._hand_on, with_kwargs=True),
            model.register_forward_hook(self._keep),
        )

    def _detach(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = ()

    def _hand_on(
        self, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        self._num_samples = batch_size_of([*args, *kwargs.values()])
        if self._past is None or self._past.num_samples != self._num_samples:
            return None
        return args, {**kwargs, "mems": self._past.mems}

    def _keep(self, model: nn.Module, args: Any, outputs: Any) -> None:
        values = _list_outputs(outputs)
        begins_with_loss = (
            len(values) > 0 and isinstance(values[0], torch.Tensor) and values[0].dim() == 0
        )
        if model.training:
            self._has_loss = begins_with_loss
        index = self.args.past_index - (self._has_loss and not begins_with_loss)
        if not begins_with_loss <= index < len(values):
            raise UsageError(self._explain(model, outputs, len(values), begins_with_loss))
        self._past = _Past(map_tensors(torch.Tensor.detach, values[index]), self._num_samples)

    def _explain(self, model: nn.Module, outputs: Any, count: int, begins_with_loss: bool) -> str:
        names = f" ({', '.join(outputs)})" if isinstance(outputs, Mapping) else ""
        loss = ", the first of which is the loss" if begins_with_loss else ""
        return (
            f"`past_index`: {self.args.past_index} is none of the states that {type(model).__name__} "
            f"returned: {count} outputs{names}{loss}. "
            "Type the index of those that the next batch gets as `mems`, counted from 0."
        )


def _list_outputs(outputs: Any) -> list[Any]:
    if isinstance(outputs, torch.Tensor):
        return [outputs]
    return list(outputs.values()) if isinstance(outputs, Mapping) else list(outputs)

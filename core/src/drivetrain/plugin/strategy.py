"""The base class of strategy plugins: one device, or many."""

from __future__ import annotations

import functools
from abc import abstractmethod
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from drivetrain.plugin.part import Plugin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import torch
    from torch import nn
    from torch.optim import Optimizer


_NOTHING: nullcontext[None] = nullcontext()
"""One for all: it is entered for each micro-batch."""


class StrategyPlugin(Plugin):
    """Decides on which devices a run computes, and how processes work together.

    The one required part is `device`; everything else is that of a single process. For the
    entry-point group ``drivetrain.strategies``.
    """

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """The device of this process."""
        raise NotImplementedError

    @property
    def world_size(self) -> int:
        """How many processes take part."""
        return 1

    @property
    def rank(self) -> int:
        """This process among all, from 0."""
        return 0

    @property
    def local_rank(self) -> int:
        """This process among those on its machine, from 0."""
        return 0

    def wait(self) -> None:
        """Wait until every process is here."""

    def gather(self, value: Any) -> list[Any]:
        """A value of each process, in the order of their ranks: numbers, texts, containers of such.

        Every process calls it at the same place; it returns when all have.
        """
        return [value]

    def place_model(self, model: nn.Module) -> nn.Module:
        """Move the model to where it is trained. Called when the trainer is made."""
        return model.to(self.device)

    def wrap_model(self, model: nn.Module) -> nn.Module:
        """Return the module whose forward is called in training; the model itself by default."""
        return model

    def wrap_optimizer(self, optimizer: Optimizer) -> Optimizer:
        """Return the optimizer that is stepped; itself by default."""
        return optimizer

    def accumulate(self, model: nn.Module) -> AbstractContextManager[Any]:
        """The context of a backward pass that is not the last before an update."""
        return _NOTHING

    def backward(self, loss: torch.Tensor, **kwargs: Any) -> None:
        """Compute the gradients of a scalar loss."""
        loss.backward(**kwargs)

    def clip_gradients(self, parameters: Iterable[torch.Tensor], max_norm: float) -> torch.Tensor:
        """Scale gradients so that their total 2-norm is at most ``max_norm``; return the norm."""
        return _torch_clip()(parameters, max_norm)


@functools.cache
def _torch_clip() -> Callable[..., torch.Tensor]:
    """Torch's function, imported when it is first needed: the names of plugins are listed without torch."""
    from torch.nn.utils import clip_grad_norm_

    return clip_grad_norm_

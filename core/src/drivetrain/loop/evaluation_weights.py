"""Optimizers that keep two sets of weights: one to train, and one to evaluate, save and use.

Schedule-free optimizers (arXiv:2405.15682) compute gradients at one point and mean another. Such an
optimizer has methods ``train`` and ``eval``, which put the one or the other into the parameters.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from drivetrain.parallel_wrappers import unwrap

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from drivetrain.trainer import Trainer


class EvaluationWeights:
    """Puts the weights to use into the model, and those to train back.

    The way there and back is not exact in floating point, so the weights to train are kept meanwhile: how
    often a run is evaluated or saved leaves no trace in it. The copy takes about the room that gradients
    have left.

    Args:
        trainer: The trainer, whose optimizer may have such methods or not.
    """

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        self._trained: Optimizer | None = None  # whose weights to train are in the model
        self._kept: dict[str, torch.Tensor] = {}

    def put_to_training(self) -> None:
        """Put the weights to train into the model, if they are not there."""
        optimizer = self.trainer.optimizer
        if self._trained is optimizer:
            return
        if not _has_two_sets(optimizer):
            self.forget()
            return
        optimizer.train()  # type: ignore[attr-defined]
        if self._kept:
            with torch.no_grad():
                for name, parameter in unwrap(self.trainer.model).named_parameters():
                    if name in self._kept:
                        parameter.copy_(self._kept[name])
        self._kept = {}
        self._trained = optimizer

    def put_to_use(self) -> None:
        """Put the weights to use into the model, if they are not there: at the end of training."""
        optimizer = self.trainer.optimizer
        self.forget()
        if _has_two_sets(optimizer):
            optimizer.eval()  # type: ignore[attr-defined]

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Have the weights to use in the model for a while."""
        if self._trained is None or self._trained is not self.trainer.optimizer:
            if not self._kept:  # else they are there for somebody who is not done
                self.put_to_use()
            yield
            return
        self._kept = {
            name: parameter.detach().clone() for name, parameter in self._parameters_of(self._trained)
        }
        self._trained.eval()  # type: ignore[attr-defined]
        self._trained = None
        try:
            yield
        finally:
            self.put_to_training()

    def kept(self) -> dict[str, torch.Tensor]:
        """The weights to train, by name, while those to use are in the model: what a checkpoint holds."""
        return dict(self._kept)

    def templates(self) -> dict[str, torch.Tensor]:
        """Tensors without content for what `kept` would give."""
        parameters = self._parameters_of(self.trainer.optimizer)
        return {name: torch.empty_like(parameter) for name, parameter in parameters}

    def take_up(self, weights: dict[str, torch.Tensor]) -> None:
        """Take the weights to train from a checkpoint; the model has those to use."""
        self._trained = None
        self._kept = weights

    def forget(self) -> None:
        """Forget what is in the model: it was put there by somebody else."""
        self._trained = None
        self._kept = {}

    def _parameters_of(self, optimizer: Optimizer) -> Iterator[tuple[str, torch.nn.Parameter]]:
        held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        for name, parameter in unwrap(self.trainer.model).named_parameters():
            if id(parameter) in held and parameter.requires_grad:
                yield name, parameter


def _has_two_sets(optimizer: Optimizer | None) -> bool:
    return all(callable(getattr(optimizer, name, None)) for name in ("train", "eval"))

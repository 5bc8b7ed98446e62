"""`neftune_noise_alpha`: noise on embeddings in training (NEFTune, arXiv 2310.05914)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from drivetrain.hookspecs import hookimpl
from drivetrain.parallel_wrappers import unwrap
from drivetrain.plugin.part import Plugin
from drivetrain_registry import UsageError

if TYPE_CHECKING:
    from torch.utils.hooks import RemovableHandle

    from drivetrain.trainer import Trainer


class NEFTune(Plugin):
    """Adds noise to what the input embeddings return, in training mode, until the run ends.

    The embeddings are those of the model's ``get_input_embeddings()``; in a model without it, its only
    nn.Embedding.
    """

    _handle: RemovableHandle | None = None

    @hookimpl
    def on_train_begin(self, trainer: Trainer) -> None:
        """Begin to add noise.

        Raises:
            UsageError: The model does not say which its input embeddings are.
        """
        self._leave_alone()  # what a run that begins again has left
        alpha = self.args.neftune_noise_alpha
        assert alpha is not None
        self._handle = find_input_embeddings(unwrap(trainer.model)).register_forward_hook(Noise(alpha))

    @hookimpl
    def on_run_end(self) -> None:
        """Add no noise any more."""
        self._leave_alone()

    def _leave_alone(self) -> None:
        if self._handle is not None:
            self._handle.remove()
        self._handle = None


class Noise:
    """A forward hook: adds uniform noise in ±alpha / sqrt(L·d) to embeddings (batch, L, d).

    Args:
        alpha: The strength.
    """

    def __init__(self, alpha: float) -> None:
        self.alpha = alpha

    def __call__(self, module: nn.Module, inputs: Any, embeddings: torch.Tensor) -> torch.Tensor | None:
        """The embeddings with noise, drawn anew; in evaluation mode as they are."""
        if not module.training:
            return None
        size = np.float32(math.prod(embeddings.shape[1:]))
        # In float32, as torch divides a number by a tensor: the same bits as published.
        bound = float(np.float32(1.0) / np.sqrt(size) * np.float32(self.alpha))
        return embeddings + torch.zeros_like(embeddings).uniform_(-bound, bound)


def find_input_embeddings(model: nn.Module) -> nn.Module:
    """The module that turns tokens into vectors.

    Raises:
        UsageError: The model neither says which that is nor has one nn.Embedding only.
    """
    said = _ask_for_embeddings(model)
    if said is not None:
        return said
    found = {name: m for name, m in model.named_modules() if isinstance(m, nn.Embedding)}
    if len(found) == 1:
        return next(iter(found.values()))
    problem = f"has {len(found)} of them ({', '.join(found)})" if found else "has no nn.Embedding"
    raise UsageError(
        f"`neftune_noise_alpha`: it needs the input embeddings, and {type(model).__name__} {problem}. "
        "Give it a method `get_input_embeddings` that returns the module, or leave the argument out."
    )


def _ask_for_embeddings(model: nn.Module) -> nn.Module | None:
    get = getattr(model, "get_input_embeddings", None)
    try:
        said = get() if callable(get) else None
    except NotImplementedError:  # transformers' models without any
        return None
    return said if isinstance(said, nn.Module) else None

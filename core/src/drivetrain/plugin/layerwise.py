"""Optimizers that update each parameter inside backward, and free its gradient at once."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from drivetrain.plugin.optimizer import OptimizerPlugin, refuse_combinations
from drivetrain_registry import UsageError

if TYPE_CHECKING:
    from drivetrain.trainer import Trainer

_at_work: weakref.WeakSet[StepsInBackward] = weakref.WeakSet()
"""Those whose hooks are on parameters."""


class StepsInBackward(Optimizer):
    """Mixed in before an optimizer: it updates a parameter as soon as its gradient is complete.

    It stays one optimizer, with all groups, one state dict and one `step`: schedules set the rate of
    its groups, and the rate that a group has during backward is the one that counts. `step` updates
    what still has a gradient, which after backward is nothing; after `close` it is everything.
    """

    steps_in_backward = True

    def __init__(self, params: Any, **kwargs: Any) -> None:
        self._handles: list[RemovableHandle] = []
        self._one_at_a_time = threading.Lock()  # backward has a thread for each device
        super().__init__(params, **kwargs)
        weakref.finalize(self, _remove, self._handles)
        self.open()

    def open(self) -> None:
        """Update in backward from now on, and have no other optimizer do so for these parameters."""
        if self._handles:
            return
        for other in list(_at_work):
            if not _parameters_of(self).isdisjoint(_parameters_of(other)):
                other.close()
        for position, group in enumerate(self.param_groups):
            for parameter in group["params"]:
                if parameter.requires_grad:
                    hook = _UpdateHook(weakref.ref(self), position)
                    self._handles.append(parameter.register_post_accumulate_grad_hook(hook))
        _at_work.add(self)

    def close(self) -> None:
        """Leave backward alone: from now on `step` updates, as in any other optimizer."""
        _remove(self._handles)
        _at_work.discard(self)

    def update(self, parameter: torch.Tensor, position: int) -> None:
        """Update one parameter of the group at ``position``, and free its gradient."""
        with self._one_at_a_time, self._narrowed_to(parameter, position):
            super().step()
        parameter.grad = None

    @contextmanager
    def _narrowed_to(self, parameter: torch.Tensor, position: int) -> Iterator[None]:
        every_group = self.param_groups
        self.param_groups = [{**every_group[position], "params": [parameter]}]
        try:
            yield
        finally:
            self.param_groups = every_group


def close_others(model: nn.Module, optimizer: Optimizer) -> None:
    """Have no optimizer but this one update parameters of the model inside backward."""
    parameters = {id(parameter) for parameter in model.parameters()}
    for other in list(_at_work):
        if other is not optimizer and not parameters.isdisjoint(_parameters_of(other)):
            other.close()


def begin(trainer: Trainer) -> None:
    """Have the trainer's optimizer, and no other, update its model inside backward, if it does that.

    Raises:
        UsageError: It does, was made by somebody else than its plugin, and the arguments ask for what it
            cannot do.
    """
    optimizer = trainer.optimizer
    close_others(trainer.model, optimizer)
    if not isinstance(optimizer, StepsInBackward):
        return
    if not trainer.has_optimizer_of_plugin:
        chosen = f"the optimizer {type(optimizer).__name__}, which the trainer was given"
        problems = list(refuse_combinations(trainer.args, LayerwisePlugin.cannot, chosen))
        if problems:
            raise UsageError("\n".join(problems))
        if trainer.args.max_grad_norm > 0:
            trainer.warn_once(
                f"`max_grad_norm`: gradients are not clipped to the default of {trainer.args.max_grad_norm} "
                f"by {chosen}. Type max_grad_norm=0 to say that you know."
            )
    optimizer.open()


def end(trainer: Trainer) -> None:
    """Leave the model's backward to whoever trains it next."""
    if isinstance(trainer.optimizer, StepsInBackward):
        trainer.optimizer.close()


class _UpdateHook:
    """What a parameter calls; it does not keep the optimizer alive."""

    def __init__(self, owner: weakref.ref[StepsInBackward], position: int) -> None:
        self.owner = owner
        self.position = position

    def __call__(self, parameter: torch.Tensor) -> None:
        owner = self.owner()
        if owner is not None:
            owner.update(parameter, self.position)


def _remove(handles: list[RemovableHandle]) -> None:
    while handles:
        handles.pop().remove()


def _parameters_of(owner: Optimizer) -> set[int]:
    return {id(parameter) for group in owner.param_groups for parameter in group["params"]}


class LayerwisePlugin(OptimizerPlugin):
    """Mixed in before an optimizer plugin whose optimizer is a `StepsInBackward`.

    It states what stepping inside backward rules out::

        class Lion(OptimizerPlugin): ...

        class LayerwiseLionOptimizer(StepsInBackward, LionOptimizer): ...

        class LayerwiseLion(LayerwisePlugin, Lion):
            def build(self):
                return LayerwiseLionOptimizer, super().build()[1]
    """

    cannot = {
        "gradient_accumulation": "it updates each parameter inside backward, after every micro-batch",
        "gradient_clipping": (
            "it updates each parameter before the gradients of all others are there, without which "
            "there is no total norm"
        ),
        "fp16": "it updates each parameter inside backward, before gradients could be unscaled",
        "several_processes": (
            "it updates each parameter inside backward, before gradients are averaged over processes"
        ),
    }

    def warnings(self) -> Iterable[str]:
        """Say that recomputing with `use_reentrant` gives shared weights their gradient in pieces, too."""
        yield from super().warnings()
        kwargs: Any = self.args.gradient_checkpointing_kwargs or {}
        if self.args.gradient_checkpointing and kwargs.get("use_reentrant", False):
            yield (
                "`gradient_checkpointing_kwargs`: with 'use_reentrant' a weight that several blocks share is "
                f"updated once for each by `optim`={self.name!r}. Type "
                "gradient_checkpointing_kwargs={'use_reentrant': False}."
            )

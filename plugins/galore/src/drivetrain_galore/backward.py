"""Optimizers that update each parameter inside backward, and free its gradient at once."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from drivetrain_galore import state

_at_work: weakref.WeakSet[StepsInBackward] = weakref.WeakSet()
"""Those whose hooks are on parameters."""


class StepsInBackward(Optimizer):
    """Mixed in before an optimizer: it updates a parameter as soon as its gradient is complete.

    It stays one optimizer, with all groups, one state dict and one `step`: schedules set the rate of
    its groups, and the rate that a group has during backward is the one that counts. `step` updates
    what still has a gradient, which after backward is nothing; after `close` it is everything.
    """

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


class AdamW(StepsInBackward, state.AdamW):
    """`state.AdamW`, stepping in backward."""


class AdamW8bit(StepsInBackward, state.AdamW8bit):
    """`state.AdamW8bit`, stepping in backward."""


class Adafactor(StepsInBackward, state.Adafactor):
    """`state.Adafactor`, stepping in backward."""

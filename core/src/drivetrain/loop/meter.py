"""The losses since the last log, kept on the device until they are asked for."""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np
import torch

_STACK_AFTER = 64
"""Losses after which they become one tensor, so that scalars do not pile up between two logs."""
_FOLD_AFTER = 1024
"""Losses after which they are added up on their device: that takes six kernels a loss."""


class LossMeter:
    """Adds up the losses of micro-batches without reading them from the device at each.

    The sum is done in float32 in the order of the micro-batches, as on the device: one read gives
    bit for bit what adding each loss when it was computed would have given. What is kept until then does
    not grow: losses on the CPU are added up whenever there are `_STACK_AFTER` of them.

    Args:
        skip_non_finite: Count a loss that is not finite as the mean of those since the last log.

    Attributes:
        total: The sum of all losses that were read.
        num_non_finite: How many were not finite.
    """

    def __init__(self, skip_non_finite: bool) -> None:
        self.total = 0.0
        self.num_non_finite = 0
        self._skip_non_finite = skip_non_finite
        self._pending: list[torch.Tensor] = []
        self._stacked: list[torch.Tensor] = []  # those before them, in vectors
        self._steps = array("q")  # of both
        self._folded: torch.Tensor | None = None  # before them: how many are not finite, the sum

    def add(self, loss: torch.Tensor, steps_since_log: int) -> None:
        """Take up the loss of a micro-batch: a scalar tensor, on any device."""
        self._pending.append(loss)
        self._steps.append(steps_since_log)
        if len(self._pending) >= _STACK_AFTER:
            self._stack()
            if self._stacked[-1].is_cpu or len(self._steps) >= _FOLD_AFTER:
                self._fold()

    def take(self) -> float:
        """The sum since the last time it was taken: the one place where losses are read."""
        if not self._steps and self._folded is None:
            return 0.0
        total, num_non_finite = self._read()
        self._forget()
        self._folded = None
        self.num_non_finite += num_non_finite
        self.total += total
        return total

    def state(self) -> dict[str, float]:
        """What a checkpoint keeps; read from the device."""
        self._fold_by_reading()
        folded_non_finite, since_log = [0, 0.0] if self._folded is None else self._folded.tolist()
        return {
            "total": self.total,
            "num_non_finite": self.num_non_finite,
            "since_log": since_log,
            "non_finite_since_log": int(folded_non_finite),
        }

    def load_state(self, state: dict[str, float]) -> None:
        """Take up what `state` gave."""
        self.total = state["total"]
        self.num_non_finite = int(state["num_non_finite"])
        sums = [state["non_finite_since_log"], state["since_log"]]
        self._folded = torch.tensor(sums, dtype=torch.float32)

    @torch.no_grad()
    def _stack(self) -> None:
        """Make one float32 vector of the pending losses, on the device of the last."""
        if not self._pending:
            return
        if len({(loss.device, loss.dtype) for loss in self._pending}) > 1:
            device = self._pending[-1].device
            self._pending = [loss.to(device).float() for loss in self._pending]
        self._stacked.append(torch.stack(self._pending).float())
        self._pending.clear()

    def _read(self) -> tuple[float, int]:
        """The sum since the last log, and how many losses were not finite; read from the device at once."""
        self._stack()
        values = self._all_in_one().cpu().numpy()
        num_non_finite, start, losses = (0, np.float32(0), values)
        if self._folded is not None:
            num_non_finite, start, losses = int(values[0]), values[1], values[2:]
        is_finite = np.isfinite(losses)
        num_non_finite += len(losses) - int(is_finite.sum())
        with np.errstate(over="ignore", invalid="ignore"):
            if self._skip_non_finite and not is_finite.all():
                total = self._add_up_finite(start, losses, is_finite)
            else:  # one after the other, which `sum` does not do
                total = np.add.accumulate(np.concatenate(([start], losses)))[-1]
        return float(total), num_non_finite

    def _all_in_one(self) -> torch.Tensor:
        """What was added up before, if anything was, and all losses since; a vector on one device."""
        parts = self._stacked if self._folded is None else [self._folded, *self._stacked]
        return parts[0] if len(parts) == 1 else torch.cat([part.to(parts[-1].device) for part in parts])

    def _add_up_finite(self, total: Any, losses: Any, is_finite: Any) -> Any:
        for loss, is_number, steps in zip(losses, is_finite, self._steps, strict=True):
            total = total + (loss if is_number else total / np.float32(1 + steps))
        return total

    def _fold(self) -> None:
        """Add up the vectors where they are: nothing waits for it."""
        if self._stacked[-1].is_cpu:
            self._fold_by_reading()
        else:
            self._folded = self._add_up_on_device()
            self._forget()

    def _fold_by_reading(self) -> None:
        if not self._steps:
            return
        total, num_non_finite = self._read()
        self._folded = torch.from_numpy(np.array([num_non_finite, total], dtype=np.float32))
        self._forget()

    def _add_up_on_device(self) -> torch.Tensor:
        """What `_fold_by_reading` gives, bit for bit."""
        device = self._stacked[-1].device
        losses = torch.cat([part.to(device) for part in self._stacked])
        is_finite = torch.isfinite(losses)
        folded = torch.zeros(2, device=device) if self._folded is None else self._folded.to(device)
        num_non_finite, total = folded
        for index, steps in enumerate(self._steps):
            stand_in = total / (1 + steps) if self._skip_non_finite else losses[index]
            total = total + torch.where(is_finite[index], losses[index], stand_in)
        return torch.stack([num_non_finite + (~is_finite).sum(), total])

    def _forget(self) -> None:
        self._pending.clear()
        self._stacked.clear()
        del self._steps[:]

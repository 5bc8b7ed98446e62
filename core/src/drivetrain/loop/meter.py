"""The losses since the last log, kept on the device until they are asked for."""

from __future__ import annotations

import numpy as np
import torch

_FOLD_AFTER = 1024
"""Losses after which they are added up on their device, so that they do not pile up between two logs."""


class LossMeter:
    """Adds up the losses of micro-batches without reading them from the device at each.

    The sum is done in float32 in the order of the micro-batches, as on the device: one read gives
    bit for bit what adding each loss when it was computed would have given.

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
        self._steps: list[int] = []
        self._folded: tuple[torch.Tensor, torch.Tensor] | None = None  # the sum, and how many not finite

    def add(self, loss: torch.Tensor, steps_since_log: int) -> None:
        """Take up the loss of a micro-batch: a scalar tensor without gradients, on any device."""
        self._pending.append(loss)
        self._steps.append(steps_since_log)
        if len(self._pending) >= _FOLD_AFTER:
            self._fold()

    def take(self) -> float:
        """The sum since the last time it was taken: the one place where losses are read."""
        if not self._pending and self._folded is None:
            return 0.0
        start, num_non_finite = self._folded or (torch.zeros(()), torch.zeros(()))
        device = (self._pending or [start])[0].device
        values = torch.stack(
            [tensor.float().to(device) for tensor in (start, num_non_finite, *self._pending)]
        )
        start_value, folded_non_finite, *losses = values.cpu().numpy()
        self.num_non_finite += int(folded_non_finite)
        total = start_value
        for loss, steps in zip(losses, self._steps, strict=True):
            is_finite = np.isfinite(loss)
            self.num_non_finite += not is_finite
            if not is_finite and self._skip_non_finite:
                loss = total / np.float32(1 + steps)
            total = np.float32(total + loss)
        self._forget()
        self._folded = None
        self.total += float(total)
        return float(total)

    def state(self) -> dict[str, float]:
        """What a checkpoint keeps; read from the device."""
        self._fold()
        since_log, folded_non_finite = self._folded or (torch.zeros(()), torch.zeros(()))
        return {
            "total": self.total,
            "num_non_finite": self.num_non_finite,
            "since_log": since_log.item(),
            "non_finite_since_log": int(folded_non_finite),
        }

    def load_state(self, state: dict[str, float]) -> None:
        """Take up what `state` gave."""
        self.total = state["total"]
        self.num_non_finite = int(state["num_non_finite"])
        sums = (state["since_log"], state["non_finite_since_log"])
        self._folded = tuple(torch.tensor(value, dtype=torch.float32) for value in sums)  # type: ignore[assignment]

    def _fold(self) -> None:
        """The same sum, on the device: slower to compute, and nothing waits for it."""
        if not self._pending:
            return
        device = self._pending[0].device
        total, num_non_finite = self._folded or (torch.zeros((), device=device),) * 2
        for loss, steps in zip(self._pending, self._steps, strict=True):
            loss, is_finite = loss.float(), torch.isfinite(loss)
            stand_in = total / (1 + steps) if self._skip_non_finite else loss
            total = total + torch.where(is_finite, loss, stand_in)
            num_non_finite = num_non_finite + ~is_finite
        self._forget()
        self._folded = total, num_non_finite

    def _forget(self) -> None:
        self._pending.clear()
        self._steps.clear()

"""The losses since the last log, kept on the device until they are asked for."""

from __future__ import annotations

import numpy as np
import torch

_READ_AFTER = 1024
"""Losses after which they are read even if nothing is logged, so that they do not pile up."""


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
        self._sum = np.float32(0.0)

    def add(self, loss: torch.Tensor, steps_since_log: int) -> None:
        """Take up the loss of a micro-batch: a scalar tensor without gradients, on any device."""
        self._pending.append(loss)
        self._steps.append(steps_since_log)
        if len(self._pending) >= _READ_AFTER:
            self._read()

    def take(self) -> float:
        """The sum since the last time it was taken."""
        self._read()
        taken, self._sum = float(self._sum), np.float32(0.0)
        self.total += taken
        return taken

    def _read(self) -> None:
        if not self._pending:
            return
        losses = torch.stack(self._pending).float().cpu().numpy()
        for loss, steps in zip(losses, self._steps, strict=True):
            is_finite = np.isfinite(loss)
            self.num_non_finite += not is_finite
            if not is_finite and self._skip_non_finite:
                loss = self._sum / np.float32(1 + steps)
            self._sum = np.float32(self._sum + loss)
        self._pending.clear()
        self._steps.clear()

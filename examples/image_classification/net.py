"""A small convolutional network in plain PyTorch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class DigitNet(nn.Module):
    """Two convolutions and two linear layers, for grey images of 8 x 8 pixels.

    Args:
        width: Channels of the first convolution (C in the shapes below).
        dropout: Share of activations that are set to zero during training.
    """

    def __init__(self, width: int = 32, dropout: float = 0.2) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, width, kernel_size=3, padding=1),  # (B, C, 8, 8)
            nn.ReLU(),
            nn.MaxPool2d(2),  # (B, C, 4, 4)
            nn.Conv2d(width, 2 * width, kernel_size=3, padding=1),  # (B, 2C, 4, 4)
            nn.ReLU(),
            nn.MaxPool2d(2),  # (B, 2C, 2, 2)
            nn.Flatten(),
            nn.Linear(8 * width, 4 * width),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(4 * width, 10),
        )

    def forward(
        self, pixel_values: torch.Tensor, labels: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """Score each digit, and compute the loss if the labels are given.

        Args:
            pixel_values: Images from 0 to 1, of shape (B, 1, 8, 8).
            labels: The right digits, of shape (B,).

        Returns:
            ``logits`` of shape (B, 10) and, with labels, ``loss``: a scalar.
        """
        logits = self.layers(pixel_values)
        if labels is None:
            return {"logits": logits}
        return {"loss": F.cross_entropy(logits, labels), "logits": logits}

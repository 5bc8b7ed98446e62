"""Handwritten digits that come with scikit-learn."""

from __future__ import annotations

import torch
from torch.utils.data import Dataset


class Digits(Dataset[dict[str, torch.Tensor]]):
    """Images and their digits.

    Args:
        images: float32 of shape (length, 8, 8), from 0 to 1.
        digits: int64 of shape (length,).
        max_shift: How many pixels an image is moved at most, in a random direction, each time it is read.
    """

    def __init__(self, images: torch.Tensor, digits: torch.Tensor, max_shift: int = 0) -> None:
        self.images = images
        self.digits = digits
        self.max_shift = max_shift

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        image = self._shift(self.images[index])
        return {"pixel_values": image.unsqueeze(0), "labels": self.digits[index]}

    def _shift(self, image: torch.Tensor) -> torch.Tensor:
        """The image moved at random; what leaves on one side is replaced by black on the other."""
        if not self.max_shift:
            return image
        down, right = torch.randint(0, 2 * self.max_shift + 1, (2,)).tolist()
        padded = torch.nn.functional.pad(image, [self.max_shift] * 4)
        height, width = image.shape
        return padded[down : down + height, right : right + width]


def load_digits(test_share: float, max_shift: int) -> tuple[Digits, Digits]:
    """The images to train on and those to evaluate with.

    The last images are held out, not random ones: neighbours often look as if one person wrote them, so
    that a random choice would be easier.

    Args:
        test_share: The share that is held out, from 0 to 1.
        max_shift: How far images that are trained on are moved.
    """
    from sklearn import datasets

    data = datasets.load_digits()
    images = torch.tensor(data.images, dtype=torch.float32) / 16
    digits = torch.tensor(data.target, dtype=torch.int64)
    num_train = round(len(images) * (1 - test_share))
    train = Digits(images[:num_train], digits[:num_train], max_shift)
    return train, Digits(images[num_train:], digits[num_train:])

"""A picture among the values that are reported."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from drivetrain_registry import UsageError

_TOLERANCE = 1e-2
"""How far floats may be beyond 0 and 1, for they are rounded."""


@dataclass(frozen=True, eq=False)
class Image:
    """A picture that `Trainer.report` sends to the reporters.

    Attributes:
        pixels: uint8, of the shape (height, width, 3): red, green, blue.
        caption: A line about it.
    """

    pixels: np.ndarray[Any, np.dtype[np.uint8]]
    caption: str = ""

    @classmethod
    def of(cls, picture: Any, caption: str = "") -> Image:
        """Make one of what people have.

        Args:
            picture: A figure of matplotlib, a picture of Pillow, or an array or tensor of the shape (height,
                width), (height, width, channels) or (channels, height, width) with 1, 3 or 4 channels:
                integers from 0 to 255, or floats from 0 to 1. A fourth channel, opacity, lies on white.
                Where either could be the channels, they are first in a tensor and last in an array.
            caption: A line about it.

        Raises:
            UsageError: It is nothing of that.
        """
        return cls(_as_pixels(_as_array(picture)), caption)

    def copy(self) -> Image:
        """The same picture, with pixels of its own."""
        return Image(self.pixels.copy(), self.caption)

    def to_png(self) -> bytes:
        """The picture as a PNG file.

        Raises:
            UsageError: Pillow is not installed.
        """
        try:
            from PIL import Image as Pictures
        except ImportError:
            raise UsageError("A picture is written with Pillow. Type: pip install pillow") from None
        file = io.BytesIO()
        Pictures.fromarray(self.pixels).save(file, format="PNG")
        return file.getvalue()


def _as_array(picture: Any) -> np.ndarray[Any, Any]:
    if hasattr(picture, "savefig"):  # a figure of matplotlib
        file = io.BytesIO()
        picture.savefig(file, format="rgba", dpi=picture.dpi)
        width, height = (int(side) for side in picture.bbox.size)
        return np.frombuffer(file.getvalue(), dtype=np.uint8).reshape(height, width, 4)
    if hasattr(picture, "convert"):  # of Pillow
        if picture.mode.startswith("I;16"):
            scaled: np.ndarray[Any, Any] = np.asarray(picture) / np.float32(65535)
            return scaled
        return np.asarray(picture if picture.mode in ("I", "F") else picture.convert("RGBA"))
    if isinstance(picture, torch.Tensor):
        picture = picture.detach().cpu()
        array: np.ndarray[Any, Any] = (
            picture.float() if picture.is_floating_point() else picture
        ).numpy()
        is_channels_first = array.ndim == 3 and array.shape[0] in (1, 3, 4)
        return array.transpose(1, 2, 0) if is_channels_first else array
    return np.asarray(picture)


def _as_pixels(array: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim == 3 and array.shape[2] not in (1, 3, 4) and array.shape[0] in (1, 3, 4):
        array = array.transpose(1, 2, 0)
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4) or array.dtype.kind not in "uifb":
        raise UsageError(
            "A picture is a figure, a picture of Pillow, or numbers of the shape (height, width), (height, "
            "width, channels) or (channels, height, width) with 1, 3 or 4 channels, not "
            f"{array.dtype} of the shape {array.shape}."
        )
    largest, smallest = array.max(initial=0), array.min(initial=0)  # NaN is as good as any
    if smallest < -_TOLERANCE or largest > (1 + _TOLERANCE if array.dtype.kind in "fb" else 255):
        raise UsageError(
            f"A picture has integers from 0 to 255 or floats from 0 to 1, and this one {array.dtype} from "
            f"{smallest} to {largest}. Scale it."
        )
    values: np.ndarray[Any, Any] = array.astype(np.float32) * (255 if array.dtype.kind in "fb" else 1)
    if array.shape[2] == 4:
        opacity = values[:, :, 3:] / 255
        values = values[:, :, :3] * opacity + 255 * (1 - opacity)
    if array.shape[2] == 1:
        values = np.repeat(values, 3, axis=2)
    pixels: np.ndarray[Any, np.dtype[np.uint8]] = np.clip(np.nan_to_num(values), 0, 255).astype(np.uint8)
    return pixels

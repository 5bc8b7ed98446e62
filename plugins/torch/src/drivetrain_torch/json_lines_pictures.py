"""Pictures that a run reports, as files beside its lines of JSON."""

from __future__ import annotations

import hashlib
import logging
import re
import sys
from pathlib import Path
from typing import Any

from drivetrain.plugin import UsageError

logger = logging.getLogger(__name__)

FOLDER_NAME = "media"
"""The folder with the pictures, beside the file with the lines."""

_LONGEST_NAME = 80


def is_picture(value: object) -> bool:
    """Whether a value is a `drivetrain.plugin.Image`."""
    module = sys.modules.get("drivetrain.plugin.image")  # where it is not imported there is none
    return module is not None and isinstance(value, module.Image)


class PictureFolder:
    """Writes pictures into a folder `FOLDER_NAME`.

    Attributes:
        beside: The folder that it is in.
    """

    def __init__(self) -> None:
        self.beside = Path()
        self._has_warned = False

    def save(self, name: str, picture: Any, step: int) -> dict[str, Any] | None:
        """Write a picture.

        The same picture of a step that is trained again is the same file.

        Returns:
            What stands for it in the line: the file under ``"image"``, relative to the folder that the lines
            are in, and its ``"caption"``. None, with one warning, where it could not be written.
        """
        try:
            data = picture.to_png()
            file = Path(FOLDER_NAME, _name_file(name, step, data))
            (self.beside / FOLDER_NAME).mkdir(parents=True, exist_ok=True)
            (self.beside / file).write_bytes(data)
        except (OSError, UsageError) as error:
            if not self._has_warned:
                self._has_warned = True
                logger.warning("jsonl: the picture %r is left out: %s", name, error)
            return None
        return {"image": file.as_posix(), "caption": picture.caption}


def _name_file(name: str, step: int, data: bytes) -> str:
    plain = re.sub(r"[^\w.-]+", "-", name, flags=re.ASCII).strip("-.")[:_LONGEST_NAME]
    return f"{plain or 'picture'}-{step}-{hashlib.sha256(data).hexdigest()[:8]}.png"

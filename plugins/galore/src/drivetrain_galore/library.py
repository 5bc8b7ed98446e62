"""The names that galore-torch provides, imported without its noise.

galore-torch imports transformers and bitsandbytes. Those warn of things that GaLore has no use for
(a scripted method that torch deprecates, a kernel that is not installed).
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def _without_noise() -> Iterator[None]:
    """Let pass errors only, of Python's warnings and of what bitsandbytes logs."""
    logger = logging.getLogger("bitsandbytes")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


with _without_noise():
    from galore_torch import GaLoreAdafactor as LibraryAdafactor
    from galore_torch import GaLoreAdamW as LibraryAdamW
    from galore_torch import GaLoreAdamW8bit as LibraryAdamW8bit
    from galore_torch.galore_projector import GaLoreProjector as GaLoreProjector

__all__ = ["GaLoreProjector", "LibraryAdafactor", "LibraryAdamW", "LibraryAdamW8bit"]

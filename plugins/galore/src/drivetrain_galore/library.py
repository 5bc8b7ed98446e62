"""The names that galore-torch and bitsandbytes provide, imported without their noise.

galore-torch imports transformers and bitsandbytes. Those warn of things that GaLore has no use for
(a scripted method that torch deprecates, a kernel that is not installed).
"""

from __future__ import annotations

from drivetrain.plugin import quietly

with quietly("bitsandbytes"):
    from bitsandbytes.optim import AdamW as BitsAndBytesAdamW
    from galore_torch import GaLoreAdafactor as LibraryAdafactor
    from galore_torch import GaLoreAdamW as LibraryAdamW
    from galore_torch.galore_projector import GaLoreProjector as GaLoreProjector

__all__ = ["BitsAndBytesAdamW", "GaLoreProjector", "LibraryAdafactor", "LibraryAdamW"]

"""The library wandb, imported when it is needed and as quiet as it can be."""

from __future__ import annotations

import os
import sys
from typing import Any


def load_wandb() -> Any:
    """Import wandb; unless the user has, without its reports of errors and without its messages.

    Environment variables that ask for either (WANDB_ERROR_REPORTING, WANDB_SILENT, WANDB_QUIET) have
    their way. The first stays in the environment: wandb looks at it again whenever it starts its service,
    and for each error.
    """
    if "wandb" in sys.modules:
        return sys.modules["wandb"]
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    import wandb

    if not {"WANDB_SILENT", "WANDB_QUIET"} & os.environ.keys():
        wandb.setup(wandb.Settings(silent=True))
    return wandb

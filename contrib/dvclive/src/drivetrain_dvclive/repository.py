"""Whether the current folder is one that DVC looks after."""

from __future__ import annotations

import os
from pathlib import Path


def find_dvc_root() -> Path | None:
    """The DVC repository that the current folder is in, as DVC looks for it; or None."""
    if os.environ.get("DVC_ROOT"):
        return Path(os.environ["DVC_ROOT"])
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if (folder / ".dvc").is_dir()), None)

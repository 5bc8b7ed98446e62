"""``dvclive.Live``, for a run that may be in a folder without DVC."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from drivetrain.plugin import quietly
from drivetrain_dvclive.repository import find_dvc_root

with quietly():
    from dvclive import Live

if TYPE_CHECKING:
    from drivetrain_dvclive.reporter import DVCLiveOptions


class PlainLive(Live):  # type: ignore[misc]
    """Writes files, and leaves repositories alone.

    ``Live`` makes every Git repository that it is used in a DVC repository, whether or not an
    experiment is to be saved.
    """

    def _init_dvc(self) -> None:
        self._dvc_file = self._init_dvc_file()
        self._save_dvc_exp = False


def make_live(folder: Path, goes_on: bool, exp_name: str | None, options: DVCLiveOptions) -> Any:
    """What writes to the folder: nothing but files, unless there is a DVC repository or one is asked for.

    Args:
        folder: Where to write; emptied of what DVCLive wrote there before, unless the run goes on.
        goes_on: Keep the files and append to them.
        exp_name: What the experiment is called, or None for DVC to invent a name.
        options: As the user typed them.
    """
    uses_dvc = options.save_dvc_exp or find_dvc_root() is not None
    return (Live if uses_dvc else PlainLive)(
        dir=str(folder),
        resume=goes_on,
        report=options.report or None,
        save_dvc_exp=options.save_dvc_exp,
        dvcyaml=options.dvcyaml or None,
        cache_images=options.cache_images,
        exp_name=exp_name,
        exp_message=options.exp_message or None,
        monitor_system=options.monitor_system,
    )

"""The base class of reporter plugins."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from drivetrain.plugin.part import Plugin

if TYPE_CHECKING:
    from torch import nn

Outcome = Literal["finished", "failed", "interrupted"]
"""How a run ended: `train` returned, an error left it, or the user stopped it."""


@dataclass(frozen=True)
class Run:
    """What a reporter is told about a run when it opens.

    Attributes:
        name: The argument ``run_name``.
        config: The arguments by name, and under ``model_config`` the model's configuration if it has
            one (``to_dict``, a dataclass or a dict); JSON values.
        model: The model that is trained.
        start_step: 0, or the step that the run resumed from.
    """

    name: str
    config: Mapping[str, Any]
    model: nn.Module
    start_step: int


class ReporterPlugin(Plugin):
    """Sends what a run logs somewhere. For the entry-point group ``drivetrain.reporters``.

    Called on the process that reports, and on no other. An error that a method raises does not end
    the run: it is logged once, and after repeated failures the reporter is switched off.

    A whole plugin::

        class Lines(ReporterPlugin):
            def open(self, run):
                self.file = open(Path(self.args.output_dir, "log.txt"), "a")

            def log(self, values, step):
                print(step, values, file=self.file)

            def close(self, outcome):
                self.file.close()
    """

    def open(self, run: Run) -> None:
        """Begin: once for each call of `train`, and before the first `log` without one.

        If it raises, the reporter is switched off: neither `log` nor `close` is called.
        """

    @abstractmethod
    def log(self, values: Mapping[str, Any], step: int) -> None:
        """Report values, most of them floats, at an update step.

        Names carry a prefix: ``train/loss``, ``eval/loss``, ``test/loss``.
        """
        raise NotImplementedError

    def close(self, outcome: Outcome) -> None:
        """End: always called after an `open` that did not raise, with how the run ended.

        What is logged after `train` opens the reporter again, until the process ends.
        """

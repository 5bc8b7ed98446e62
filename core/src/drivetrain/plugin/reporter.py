"""The base class of reporter plugins."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from drivetrain.plugin.part import Plugin

if TYPE_CHECKING:
    from torch import nn

    from drivetrain.arguments import TrainingArguments

logger = logging.getLogger(__name__)

Outcome = Literal["finished", "failed", "interrupted"]
"""How a run ended: `train` returned, an error left it, or it was stopped (by the user, or by a signal)."""


@dataclass(frozen=True)
class Run:
    """What a reporter is told about a run when it opens.

    Attributes:
        name: The argument ``run_name``.
        config: The arguments by name, without secrets, and under ``model_config`` the model's
            configuration if it has one (``to_dict``, a dataclass or a dict); JSON values.
        model: The model that is trained. It is being trained while `ReporterPlugin.open` runs.
        start_step: 0, or the step that the run resumed from.
        facts: What is known of the run besides: ``model`` (the model's class), ``num_parameters``,
            ``num_trainable_parameters``.
        state: What `ReporterPlugin.state` gave when the checkpoint was saved that the run resumes from,
            or when it was closed last, if this goes on from there; empty for a new run.
    """

    name: str
    config: Mapping[str, Any]
    model: nn.Module
    start_step: int
    facts: Mapping[str, Any] = field(default_factory=dict)
    state: Mapping[str, Any] = field(default_factory=dict)


class ReporterPlugin(Plugin):
    """Sends what a run logs somewhere. For the entry-point group ``drivetrain.reporters``.

    Called on the process that reports, and on no other. `open` and all that follows is called one after the
    other in a thread of the reporter's own, so that training never waits for it: it may be slow. An
    error that it raises does not end the run: it is logged once, after repeated failures the reporter
    is switched off, and at the end what it missed is tried once more (`reporter_errors`,
    `reporter_timeout`).

    A whole plugin::

        class Lines(ReporterPlugin):
            def open(self, run):
                self.file = open(Path(self.args.output_dir, "log.txt"), "a")

            def log(self, values, step):
                print(step, values, file=self.file)

            def close(self, outcome):
                self.file.close()

    Attributes:
        is_immediate: Call it in the thread that trains, so that what was logged is where it belongs before
            the next update, whatever ends the process. For what appends to a local file, and nothing slower.
        takes_checkpoints: Call `log_checkpoint` with each checkpoint. A reporter for which that depends on
            its options or its library's environment variables makes it a property, or sets it in
            ``__init__``.
        takes_model: Call `log_model` with the model at the end of `train`; the same holds.
    """

    is_immediate: ClassVar[bool] = False
    takes_checkpoints: bool = False
    takes_model: bool = False

    def __init__(self, args: TrainingArguments, options: Any = None) -> None:
        super().__init__(args, options)
        self._left_out: set[str] = set()

    def prepare(self) -> None:
        """Do what only the thread that trains can: look at a run that the user began in it, say.

        Called in that thread right before `open` is called in the reporter's own. Training waits for it, so
        without network. A library that draws from the global random numbers when it is imported is
        imported here, where they can be put back.
        """

    def open(self, run: Run) -> None:
        """Begin: once for each call of `train`, and before the first `log` without one.

        If it raises, the reporter is switched off, and opened once more at the end of the run, when it is
        told what it missed. Does not ask for a login, and needs no terminal.
        """

    @abstractmethod
    def log(self, values: Mapping[str, Any], step: int) -> None:
        """Report values, most of them floats, at an update step.

        Names carry a prefix: ``train/loss``, ``eval/loss``, ``test/loss``, ``perf/tokens_per_second``.
        Texts and `Image` are given where a callback reports some (`Trainer.report`). What cannot be
        sent is left out with one warning.
        """
        raise NotImplementedError

    def log_checkpoint(self, folder: Path, step: int) -> None:
        """Keep a checkpoint as an artefact; see `takes_checkpoints`.

        Args:
            folder: ``checkpoint-<step>``, a copy that is there until this returns. Its files are those of the
                checkpoint (links): do not write to them.
            step: The update that it was saved after.
        """

    def log_model(self, folder: Path) -> None:
        """Keep the model that `train` ends with as an artefact; see `takes_model`.

        Args:
            folder: What `Trainer.save_model` writes; it is there until this returns.
        """

    def leave_out(self, name: str, value: Any) -> None:
        """Say that a value cannot be sent; once for each name."""
        if name not in self._left_out:
            self._left_out.add(name)
            logger.warning(
                "%s: %r is left out, now and in what follows: a %s is nothing that it takes.",
                self.name or type(self).__name__,
                name,
                type(value).__name__,
            )

    def keep_known(self, run: Run, steps: Iterable[int]) -> None:
        """Say, in `open`, which steps the backend has already, so that they are not sent again.

        Args:
            run: The run that goes on.
            steps: Steps that something was logged at; those up to `Run.start_step` do not count.
        """
        later = [step for step in steps if step > run.start_step]
        if later:
            logger.info(
                "%s: the steps %d to %d are there already, from before this run was resumed at step %d. They "
                "stay as they are, and are not sent again.",
                self.name or type(self).__name__,
                run.start_step + 1,
                max(later),
                run.start_step,
            )

    def close(self, outcome: Outcome) -> None:
        """End: always called after an `open` that did not raise, with how the run ended.

        What is logged after `train` opens the reporter again, until the process ends.
        """

    def state(self) -> Mapping[str, Any]:
        """What to go on with if the run is resumed, such as the identity of the backend's run; JSON values.

        Kept in each checkpoint, and given to `open` as `Run.state`. Called in the thread that trains,
        maybe while another method runs in the reporter's own: it returns what is known.
        """
        return {}


class CallbackReporter(ReporterPlugin):
    """A callback that ``report_to`` names by its dotted path: it joins the run as it is.

    Attributes:
        callback_class: The callback's class, made without arguments.
    """

    callback_class: ClassVar[type[Any]]

    def make_callback(self) -> Any:
        """The callback."""
        return self.callback_class()

    def log(self, values: Mapping[str, Any], step: int) -> None:
        """The callback hears of logs by itself."""

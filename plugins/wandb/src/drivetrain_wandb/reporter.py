"""The reporter `wandb`."""

from __future__ import annotations

import logging
import math
import os
import re
import secrets
import string
import sys
from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drivetrain.plugin import (
    Image,
    Outcome,
    ReporterPlugin,
    Run,
    as_float,
    find_missing_library,
    find_unclear_switches,
    hookimpl,
    read_switch,
)
from drivetrain_wandb.journal import Journal
from drivetrain_wandb.library import load_wandb
from drivetrain_wandb.login import explain_missing_login, find_mode
from drivetrain_wandb.options import WandBOptions, find_problems
from drivetrain_wandb.settings import make_settings

if TYPE_CHECKING:
    from drivetrain import Trainer, TrainingArguments

logger = logging.getLogger(__name__)

STEP_NAME = "train/global_step"
"""The metric that is the x axis of all others."""

_EXIT_CODES: dict[Outcome, int] = {"finished": 0, "failed": 1, "interrupted": 255}
"""What wandb itself gives a run that ends so; it shows the last, Control-C, as killed."""

_MOST_HISTOGRAMS_WAITING = 64
"""Updates whose histograms are kept until there is a run to send them to."""


class WandB(ReporterPlugin):
    """Rows of a run's history, with its configuration, its models if asked for, and how it ended.

    A run that the user began (``wandb.init``) is reported to, and left running. If the server of a new one
    cannot be reached, the run is kept on this machine, and how to send it is said.
    """

    Options = WandBOptions

    def __init__(self, args: TrainingArguments, options: Any = None) -> None:
        super().__init__(args, options)
        self._wandb: Any = None
        self._run: Any = None
        self._is_ours = True
        self._id = ""
        self._unsent_id = ""
        self._journal: Journal | None = None
        self._epoch: float | None = None
        self._is_reporting = False
        self._watched: deque[tuple[int, dict[str, Any]]] = deque(maxlen=_MOST_HISTOGRAMS_WAITING)

    @property
    def takes_checkpoints(self) -> bool:  # type: ignore[override]
        """Whether checkpoints are wanted: ``WANDB_LOG_MODEL=checkpoint``."""
        return bool(self.options.kept_model == "checkpoint")

    @property
    def takes_model(self) -> bool:  # type: ignore[override]
        """Whether the final model is wanted: ``WANDB_LOG_MODEL=end``, or ``checkpoint``."""
        return self.options.kept_model in ("end", "checkpoint")

    def problems(self) -> Iterable[str]:
        """Say what is known without a network: no library, no login, values that do not exist."""
        if missing := list(find_missing_library("wandb", "wandb", "wandb")):
            yield from missing
            return
        yield from find_unclear_switches("WANDB_DISABLED")
        if read_switch("WANDB_DISABLED"):
            yield (
                "`report_to`: 'wandb' is switched off by WANDB_DISABLED, which is deprecated. Type "
                "report_to='none', or WANDB_MODE=disabled to have wandb do nothing."
            )
        found = list(find_problems(self.options))
        yield from found
        needs_login = find_mode(self.options.mode) in ("online", "run", "shared")
        if not found and needs_login and (no_login := explain_missing_login()):
            yield no_login

    def prepare(self) -> None:
        """Look for a run that the user began."""
        run = getattr(sys.modules.get("wandb"), "run", None)
        self._is_ours = run is None
        self._run = run
        self._is_reporting = True

    def open(self, run: Run) -> None:
        """Begin a run, go on with one, or take over what the user began; describe the training in it."""
        if self._is_ours:
            self._id = _choose_id(
                self.options.id, run
            )  # a checkpoint may be saved before wandb is there
        self._wandb = load_wandb()
        if self._is_ours:
            self._run = self._begin(run)
        if not self._unsent_id:
            self._id = self._run.id
        path = Path(self.args.output_dir, f"wandb-{self._id}.json")
        self._journal = Journal(path, run.start_step, goes_on=run.state.get("id") == self._id)
        self.keep_known(run, self._journal.known.values())
        if not run.state:
            self._journal.num_rows = max(self._journal.num_rows, self._run.step)
        self._run.config.update(_describe(run), allow_val_change=True)
        self._run.define_metric(STEP_NAME)
        self._run.define_metric("*", step_metric=STEP_NAME, step_sync=True)

    def log(self, values: Mapping[str, Any], step: int) -> None:
        """Add a row to the history, without what it has already."""
        self._epoch = as_float(values.get("train/epoch", self._epoch))
        self._add_histograms(step)
        self._add_row({k: v for k, v in map(self._convert, values.items()) if v is not None}, step)

    def log_checkpoint(self, folder: Path, step: int) -> None:
        """Keep a checkpoint as a version of the run's model."""
        aliases = [f"checkpoint_global_step_{step}"]
        if self._epoch is not None:
            aliases.append(f"epoch_{round(self._epoch, 2)}")
        self._keep(folder, aliases, {"step": step})

    def log_model(self, folder: Path) -> None:
        """Keep the model that training ended with, as the latest version."""
        self._keep(folder, ["final_model"], {"final_model": True})

    def close(self, outcome: Outcome) -> None:
        """Note how the run ended, and end it if it is ours."""
        self._is_reporting = False
        if self._run is None:
            return
        try:
            self._add_histograms()
            self._run.summary["run/outcome"] = outcome
        finally:
            run, self._run = self._run, None
            if self._is_ours:
                self._finish(run, _EXIT_CODES[outcome])

    def state(self) -> Mapping[str, Any]:
        """The identity of the run."""
        return {"id": self._id} if self._id else {}

    @hookimpl
    def on_pre_optimizer_step(self, trainer: Trainer) -> None:
        """Take histograms, in the thread that trains; the next `log` sends them."""
        if not self._is_reporting or self.options.watched == "false":
            return
        step = trainer.state.global_step + 1
        every = self.options.watch_steps or max(100, int(self.args.logging_steps))
        if step % every == 0:
            from drivetrain_wandb.watching import take_histograms

            self._watched.append((step, take_histograms(trainer.model, self.options.watched)))

    def _begin(self, run: Run) -> Any:
        settings = make_settings(self._wandb, self.args, self.options, run.name)
        settings.reinit = "return_previous"
        settings.run_id = self._id or None
        if run.state and settings.resume not in ("must", "auto"):
            settings.resume = "allow"
        if self._unsent_id:
            return self._begin_offline(settings)
        try:
            return self._wandb.init(settings=settings)
        except self._wandb.Error as error:
            if self.args.reporter_errors == "raise" or settings.mode not in (None, "online", "run"):
                raise
            return self._begin_instead(settings, error)

    def _finish(self, run: Any, exit_code: int) -> None:
        """End a run, and wait until it is sent, but not for ever."""
        folder, seconds = run.settings.sync_dir, run.settings.finish_timeout
        try:
            run.finish(exit_code=exit_code)
        except TimeoutError:
            if self.args.reporter_errors == "raise":
                raise
            logger.warning(
                f"wandb did not send all of the run in {seconds:g} s. To send the rest, type: wandb sync "
                f"{folder}"
            )

    def _begin_instead(self, settings: Any, error: Exception) -> Any:
        """Keep the run on this machine, under another identity: wandb holds the first to be in use."""
        self._unsent_id = _make_id()
        self._id = self._id or self._unsent_id
        run = self._begin_offline(settings)
        folder = Path(run.settings.sync_dir)
        logger.warning(
            f"wandb cannot be reached, so the run is kept on this machine. To send it, type: wandb sync --id "
            f"{self._id} {folder}\nWhat it said: {str(error).splitlines()[0]}"
        )
        return run

    def _begin_offline(self, settings: Any) -> Any:
        settings.mode, settings.run_id, settings.resume = "offline", self._unsent_id, None
        return self._wandb.init(settings=settings)

    def _add_histograms(self, last_step: float = math.inf) -> None:
        while self._watched and self._watched[0][0] <= last_step:
            step, histograms = self._watched.popleft()
            made = {k: self._wandb.Histogram(np_histogram=v) for k, v in histograms.items()}
            self._add_row(made, step)

    def _add_row(self, values: Mapping[str, Any], step: int) -> None:
        assert self._journal is not None, "`log` before `open`"
        new = self._journal.select_new(values, step)
        if new:
            self._run.log(
                {**new, STEP_NAME: step}, step=max(self._journal.num_rows, self._run.step), commit=True
            )
            self._journal.add(new, step)

    def _convert(self, item: tuple[str, Any]) -> tuple[str, Any]:
        """A value as wandb takes it; None, with one warning, if it takes none like it."""
        name, value = item
        number = as_float(value)
        if number is not None:
            return name, number
        if isinstance(value, str):
            return name, value
        if isinstance(value, Image):
            return name, self._wandb.Image(value.pixels, caption=value.caption or None)
        self.leave_out(name, value)
        return name, None

    def _keep(self, folder: Path, aliases: list[str], metadata: dict[str, Any]) -> None:
        name = self._run.name if self.args.run_name != self.args.output_dir else None
        name = re.sub(r"[^\w.-]", "-", f"model-{name or self._run.id}")
        artifact = self._wandb.Artifact(name, type="model", metadata=metadata)
        artifact.add_dir(str(folder))
        self._run.log_artifact(artifact, aliases=aliases)


def _choose_id(typed: str | None, run: Run) -> str:
    """The identity of the run; empty where wandb has noted it (``WANDB_RESUME=auto``)."""
    known = typed or os.environ.get("WANDB_RUN_ID") or run.state.get("id")
    if known:
        return str(known)
    return "" if os.environ.get("WANDB_RESUME") == "auto" else _make_id()


def _make_id() -> str:
    """As wandb makes them, by the system's own random numbers: those of the training are not touched."""
    return "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(8))


def _describe(run: Run) -> dict[str, Any]:
    return {**run.config, **{f"model/{name}": value for name, value in run.facts.items()}}

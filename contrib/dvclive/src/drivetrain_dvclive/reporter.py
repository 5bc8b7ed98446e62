"""Writes what a run logs as the files of DVCLive."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drivetrain.plugin import (
    Image,
    Outcome,
    ReporterPlugin,
    Run,
    as_number,
    find_missing_library,
    find_unclear_switches,
    read_switch,
)
from drivetrain_dvclive.files import forget_later_steps
from drivetrain_dvclive.repository import find_dvc_root

if TYPE_CHECKING:
    from drivetrain import TrainingArguments

LOG_MODEL_VARIABLE = "HF_DVCLIVE_LOG_MODEL"
"""The environment variable that says what DVC is to keep: the final model, or ``all`` checkpoints."""

SECONDS_BETWEEN_SYNCS = 10.0
"""How often DVCLive makes its report and ``dvc.yaml`` anew, for which it reads all that it wrote."""

_REPORTS = ("md", "notebook", "html")


@dataclass(frozen=True)
class DVCLiveOptions:
    """The options of `dvclive`, most of which are parameters of ``dvclive.Live``."""

    dir: str = field(
        default="", metadata={"help": "The folder to write to. By default `output_dir`/dvclive."}
    )
    save_dvc_exp: bool = field(
        default=False, metadata={"help": "Save a DVC experiment of the Git repository at the end."}
    )
    dvcyaml: str = field(
        default="", metadata={"help": "The dvc.yaml to list metrics, plots and models in, if any."}
    )
    report: str = field(
        default="", metadata={"help": "A report to keep up to date: 'md', 'html' or 'notebook'."}
    )
    exp_name: str = field(
        default="", metadata={"help": "The experiment. By default DVC_EXP_NAME, or `run_name`."}
    )
    exp_message: str = field(default="", metadata={"help": "The message of the saved experiment."})
    cache_images: bool = field(default=False, metadata={"help": "Keep images with DVC, not Git."})
    monitor_system: bool = field(
        default=False, metadata={"help": "Log the use of processors and memory, in a thread."}
    )


class DVCLive(ReporterPlugin):
    """Numbers as TSV files and metrics.json, the arguments as params.yaml, images as PNG files.

    They are written as ``dvclive.Live`` writes them, in a folder of the run. Models become artefacts of
    DVC where `LOG_MODEL_VARIABLE` asks for them. A run that resumes goes on with its files: what was
    written after the checkpoint is taken out of them.
    """

    Options = DVCLiveOptions
    unused_arguments = ("project",)

    def __init__(self, args: TrainingArguments, options: Any = None) -> None:
        super().__init__(args, options)
        self.takes_checkpoints = os.environ.get(LOG_MODEL_VARIABLE, "").strip().lower() == "all"
        self.takes_model = bool(read_switch(LOG_MODEL_VARIABLE))
        self.folder = Path(self.options.dir or Path(args.output_dir, "dvclive")).expanduser()
        self._live: Any = None
        self._next_sync = 0.0

    def problems(self) -> Iterable[str]:
        """Refuse reports that there are not, and artefacts without a DVC repository."""
        yield from find_missing_library("dvclive", "dvclive", "dvclive")
        if not self.takes_checkpoints:
            yield from find_unclear_switches(LOG_MODEL_VARIABLE)
        if self.options.report and self.options.report not in _REPORTS:
            yield (
                f"`reporter_args`: {self.options.report!r} is no `report` of dvclive. Allowed: "
                f"{', '.join(_REPORTS)}."
            )
        if self.options.dvcyaml and Path(self.options.dvcyaml).name != "dvc.yaml":
            yield (
                f"`reporter_args`: `dvcyaml` of dvclive is {self.options.dvcyaml!r}. DVC reads a file of "
                "the name dvc.yaml only. Type: dvcyaml=dvc.yaml"
            )
        keeps_files = self.takes_checkpoints or self.takes_model
        if keeps_files and not self.options.save_dvc_exp and find_dvc_root() is None:
            yield (
                f"`report_to`: {LOG_MODEL_VARIABLE}={os.environ[LOG_MODEL_VARIABLE]} has DVC keep what "
                "dvclive is given, and this folder is in no DVC repository. Type: dvc init"
            )

    def open(self, run: Run) -> None:
        """Begin in an empty folder, or go on with the files of a run that is resumed."""
        from drivetrain_dvclive.live import make_live

        goes_on = bool(run.state) or run.start_step > 0
        if goes_on:
            forget_later_steps(self.folder, run.start_step)
        self._live = make_live(self.folder, goes_on, self._name_experiment(), self.options)
        self._live.summary.pop("run", None)  # how the run ended that goes on now
        self._live.log_params({**run.config, **run.facts})
        self._live.make_summary()

    def log(self, values: Mapping[str, Any], step: int) -> None:
        """Append a line to the file of each number."""
        self._live.step = step
        for name, value in values.items():
            self._write(_inside(name), value, step)
        self._sync()

    def log_checkpoint(self, folder: Path, step: int) -> None:
        """Have DVC keep a copy of a checkpoint."""
        self._live.log_artifact(folder, name=folder.name, type="checkpoint", copy=True)

    def log_model(self, folder: Path) -> None:
        """Have DVC keep the final model, as ``best`` or ``last``."""
        name = "best" if self.args.load_best_model_at_end else "last"
        kept = Path(self._live.artifacts_dir, name)
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(folder, kept)
        self._live.log_artifact(kept, name=name, type="model")

    def close(self, outcome: Outcome) -> None:
        """Note how the run ended, and save the experiment if that is asked for."""
        if self._live is not None:
            live, self._live = self._live, None
            live.log_metric("run/outcome", outcome, plot=False)
            live.end()

    def state(self) -> Mapping[str, Any]:
        """Where the files are."""
        return {"dir": str(self.folder)}

    def _name_experiment(self) -> str | None:
        typed = self.args.run_name if self.args.run_name != self.args.output_dir else None
        return self.options.exp_name or os.environ.get("DVC_EXP_NAME") or typed

    def _write(self, name: str, value: Any, step: int) -> None:
        number = as_number(value)
        if number is not None:
            self._live.log_metric(name, number)
        elif isinstance(value, str):  # no plot: DVC and its Studio read numbers in those
            self._live.log_metric(name, value, plot=False)
        elif isinstance(value, Image):
            self._live.log_image(f"{name}/{step}.png", value.pixels)
            if value.caption:
                self._live.log_metric(name, value.caption, plot=False)
        else:
            self.leave_out(name, value)

    def _sync(self) -> None:
        """Write metrics.json; now and then what takes the longer, the more was logged."""
        began = time.monotonic()
        if began < self._next_sync:
            self._live.make_summary()
            return
        self._live.next_step()
        took = time.monotonic() - began
        self._next_sync = began + max(SECONDS_BETWEEN_SYNCS, 20 * took)


def _inside(name: str) -> str:
    """The name, which DVCLive takes for a path, as one that does not lead out of the folder."""
    return "/".join(part for part in name.split("/") if part not in ("", ".", "..")) or "value"

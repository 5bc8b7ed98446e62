"""Writes what a run logs as the files of DagsHub, and uploads models to its repositories."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drivetrain.plugin import (
    Outcome,
    ReporterPlugin,
    Run,
    as_number,
    find_missing_library,
    find_unclear_switches,
    read_switch,
)
from drivetrain_dagshub.files import RunFiles
from drivetrain_dagshub.repository import find_repository, has_credentials, upload

if TYPE_CHECKING:
    from drivetrain import TrainingArguments

LOG_ARTIFACTS_VARIABLE = "HF_DAGSHUB_LOG_ARTIFACTS"
"""The environment variable that asks for the final model to be uploaded."""


@dataclass(frozen=True)
class DagsHubOptions:
    """The options of `dagshub`."""

    metrics_path: str = field(
        default="", metadata={"help": "The file of numbers. By default `output_dir`/metrics.csv."}
    )
    hparams_path: str = field(
        default="", metadata={"help": "The file of arguments. By default `output_dir`/params.yml."}
    )
    repository: str = field(
        default="", metadata={"help": "owner/name. By default that of MLFLOW_TRACKING_URI."}
    )
    branch: str = field(default="", metadata={"help": "The branch. By default BRANCH, else main."})
    model_name: str = field(
        default="",
        metadata={
            "help": "The folder in `artifacts` of the repository. By default HF_DAGSHUB_MODEL_NAME, or main."
        },
    )


class DagsHub(ReporterPlugin):
    """Numbers in metrics.csv, the arguments and the last texts in params.yml, as DagsHub reads them.

    Where `LOG_ARTIFACTS_VARIABLE` asks for it, the final model and these files are uploaded to a
    repository. A run that resumes goes on with its files: what was written after the checkpoint is
    taken out of them.
    """

    Options = DagsHubOptions
    unused_arguments = ("project",)

    def __init__(self, args: TrainingArguments, options: Any = None) -> None:
        super().__init__(args, options)
        self.takes_model = bool(read_switch(LOG_ARTIFACTS_VARIABLE))
        folder = Path(args.output_dir)
        self.metrics_path = Path(self.options.metrics_path or folder / "metrics.csv")
        self.hparams_path = Path(self.options.hparams_path or folder / "params.yml")
        self._files: RunFiles | None = None

    def problems(self) -> Iterable[str]:
        """Refuse uploads to nowhere, and without credentials: nobody is asked to log in."""
        yield from find_unclear_switches(LOG_ARTIFACTS_VARIABLE)
        if missing := list(find_missing_library("dagshub", "dagshub", "dagshub")):
            yield from missing
        elif self.takes_model:
            if find_repository(self.options.repository) is None:
                yield (
                    f"`report_to`: {LOG_ARTIFACTS_VARIABLE} has dagshub upload the model, and it is not said "
                    "where to. Type: reporter_args={'dagshub': {'repository': 'owner/name'}}, or set "
                    "MLFLOW_TRACKING_URI to that of the repository."
                )
            if not has_credentials():
                yield (
                    f"`report_to`: {LOG_ARTIFACTS_VARIABLE} has dagshub upload the model, for which it needs "
                    "the environment variable DAGSHUB_USER_TOKEN. Set it, or type: dagshub login"
                )

    def warnings(self) -> Iterable[str]:
        """Say that MLflow is another reporter."""
        yield from super().warnings()
        is_hosted = "dagshub" in os.environ.get("MLFLOW_TRACKING_URI", "")
        if is_hosted and not {"mlflow", "all"} & set(self.args.reporter_names):
            yield (
                "`report_to`: 'dagshub' sends nothing to the MLflow server in MLFLOW_TRACKING_URI. "
                "Type: report_to=['dagshub', 'mlflow']"
            )

    def open(self, run: Run) -> None:
        """Begin new files, or go on with those of a run that is resumed."""
        goes_on = bool(run.state) or run.start_step > 0
        last_step = run.start_step if goes_on else None
        self._files = RunFiles(self.metrics_path, self.hparams_path, last_step)
        self._files.note({**run.config, **run.facts})

    def log(self, values: Mapping[str, Any], step: int) -> None:
        """Append a line for each number."""
        assert self._files is not None, "`log` before `open`"
        numbers, texts = {}, {}
        for name, value in values.items():
            number = as_number(value)
            if number is not None:
                numbers[name] = number
            elif isinstance(value, str):
                texts[name] = value
            else:
                self.leave_out(name, value)
        self._files.append(numbers, step)
        if texts:
            self._files.note(texts)

    def log_model(self, folder: Path) -> None:
        """Upload the final model, and the files about it."""
        repository = find_repository(self.options.repository)
        assert repository is not None, "`problems` refuses that"
        branch = self.options.branch or os.environ.get("BRANCH") or "main"
        name = self.options.model_name or os.environ.get("HF_DAGSHUB_MODEL_NAME") or "main"
        upload(
            repository,
            branch,
            f"artifacts/{name}",
            [folder, self.metrics_path, self.hparams_path],
            f"The model of {self.args.run_name}",
        )

    def close(self, outcome: Outcome) -> None:
        """Note how the run ended, with the arguments."""
        if self._files is not None:
            files, self._files = self._files, None
            files.note({"run/outcome": outcome})
            files.close()

    def state(self) -> Mapping[str, Any]:
        """Where the files are."""
        return {"metrics_path": str(self.metrics_path)}

"""Which task a run is reported to: options, then environment variables, then arguments."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from drivetrain.plugin import find_unclear_switches, read_switch

if TYPE_CHECKING:
    from drivetrain import TrainingArguments

PROJECT = "HuggingFace Transformers"
"""The project where nobody names one: that of the published trainer."""

FRAMEWORKS = (
    *("catboost", "fastai", "gradio", "hydra", "jsonargparse", "joblib", "lightgbm", "matplotlib"),
    *("megengine", "pytorch", "scikit", "tensorboard", "tensorflow", "tfdefines", "xgboost"),
)
"""What ClearML can watch by itself."""

_CREDENTIALS = (("CLEARML_API_ACCESS_KEY", "CLEARML_API_SECRET_KEY"), ("CLEARML_AUTH_TOKEN",))


@dataclass(frozen=True)
class ClearMLOptions:
    """Options of `clearml` in `reporter_args`; None: what the environment says.

    Attributes:
        project: The project's name, instead of ``CLEARML_PROJECT`` and `project`.
        task: The task's name, instead of ``CLEARML_TASK`` and `run_name`.
        tags: Labels of the task.
        offline: Write an archive to import later instead of sending anything.
        output_uri: Where models are kept: a folder, a bucket, or True for the server's own storage.
        log_model: Keep checkpoints and the model.
        log_code: Let ClearML log the git repository and the installed packages.
        log_console: Let ClearML log what is printed.
        log_resources: Let ClearML measure processors, memory and disks.
        log_arguments: Let ClearML log the command line.
        frameworks: Libraries that ClearML watches by itself, such as ``matplotlib``.
        can_be_aborted: Abort the process when the task is aborted in the web interface.
    """

    project: str | None = None
    task: str | None = None
    tags: tuple[str, ...] = ()
    offline: bool | None = None
    output_uri: str | bool | None = None
    log_model: bool | None = None
    log_code: bool = False
    log_console: bool = False
    log_resources: bool = False
    log_arguments: bool = False
    frameworks: tuple[str, ...] = ()
    can_be_aborted: bool = False


def choose_project(args: TrainingArguments, options: ClearMLOptions) -> str:
    """The project of a new task."""
    return options.project or os.environ.get("CLEARML_PROJECT") or args.project or PROJECT


def choose_name(run_name: str, options: ClearMLOptions) -> str:
    """The name of a new task."""
    return options.task or os.environ.get("CLEARML_TASK") or run_name


def is_offline(options: ClearMLOptions) -> bool:
    """Whether nothing is sent."""
    if options.offline is not None:
        return options.offline
    variable = (
        "CLEARML_OFFLINE_MODE" if os.environ.get("CLEARML_OFFLINE_MODE") else "TRAINS_OFFLINE_MODE"
    )
    said = os.environ.get(variable, "").strip().lower()
    # The library takes a version for yes.
    return said not in ("", "none") and read_switch(variable) is not False


def logs_model(options: ClearMLOptions) -> bool:
    """Whether checkpoints and the model are kept."""
    if options.log_model is not None:
        return options.log_model
    return bool(read_switch("CLEARML_LOG_MODEL"))


def find_problems(options: ClearMLOptions) -> Iterator[str]:
    """What is known to be wrong without a network, a whole message each."""
    yield from find_unclear_switches("CLEARML_LOG_MODEL")
    unknown = [name for name in options.frameworks if name not in FRAMEWORKS]
    if unknown:
        yield (
            f"`reporter_args`: frameworks of 'clearml' cannot hold {', '.join(map(repr, unknown))}. "
            f"ClearML watches {', '.join(FRAMEWORKS)}."
        )
    if not is_offline(options) and not _has_credentials():
        yield (
            "`report_to`: 'clearml' has no credentials. Type: clearml-init (or export "
            "CLEARML_API_ACCESS_KEY=... and CLEARML_API_SECRET_KEY=...), or for an archive to import later: "
            "export CLEARML_OFFLINE_MODE=1"
        )


def _has_credentials() -> bool:
    """Whether they are in the environment, or there is a file of settings that has them."""
    if any(all(os.environ.get(name) for name in names) for names in _CREDENTIALS):
        return True
    chosen = os.environ.get("CLEARML_CONFIG_FILE") or os.environ.get("TRAINS_CONFIG_FILE")
    files = [chosen] if chosen else ["~/clearml.conf", "~/trains.conf"]
    return any(Path(os.path.expandvars(file)).expanduser().is_file() for file in files)

"""What `reporter_args` may hold, and what of swanlab's own settings matters before a run begins."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from drivetrain.plugin import find_missing_library
from drivetrain_swanlab import library

if TYPE_CHECKING:
    from drivetrain import TrainingArguments

PROJECT_VARIABLE = "SWANLAB_PROJECT"
"""The project, as published; swanlab's own names for it are SWANLAB_PROJECT_NAME and SWANLAB_PROJ_NAME."""

_Mode = Literal["online", "cloud", "offline", "local", "disabled"]
_MODES: tuple[str, ...] = get_args(_Mode)
_NO_PART_OF_A_PROJECT = re.compile(r"[^0-9a-zA-Z_.+-]")


@dataclass(frozen=True)
class SwanLabOptions:
    """Options of a run in SwanLab; None: what swanlab's configuration says, else its default."""

    mode: _Mode | None = field(
        default=None,
        metadata={
            "help": "Where to: the service, files for `swanlab sync`, or a dashboard of your own."
        },
    )
    workspace: str | None = field(default=None, metadata={"help": "The user or the organization."})
    tags: list[str] | None = field(default=None, metadata={"help": "Labels of the run."})
    group: str | None = field(default=None, metadata={"help": "The group that the run belongs to."})
    job_type: str | None = field(default=None, metadata={"help": "What kind of run it is: 'train'."})
    notes: str | None = field(default=None, metadata={"help": "A text about the run."})
    public: bool | None = field(default=None, metadata={"help": "Let everybody see the project."})
    log_dir: str | None = field(default=None, metadata={"help": "Where its files are."})
    monitor: bool = field(
        default=False, metadata={"help": "Record the use of CPU, memory and GPUs, in a thread."}
    )
    describe_machine: bool = field(
        default=False,
        metadata={"help": "Record hardware, host name, command, packages and the git repository."},
    )


def read_settings() -> Any:
    """swanlab's own settings: its files, the environment, a login, and what the script merged into them.

    Raises:
        ValueError: They hold a value that swanlab refuses.
    """
    settings = library.load().Settings
    with contextlib.suppress(ImportError, AttributeError):
        settings = import_module("swanlab.sdk.internal.settings").create_settings
    return settings()


def choose_mode(options: SwanLabOptions, settings: Any) -> str:
    """The mode as swanlab calls it."""
    mode = options.mode or settings.mode
    return "online" if mode == "cloud" else str(mode)


def choose_log_dir(args: TrainingArguments, options: SwanLabOptions, settings: Any) -> Path:
    """Where files go: as typed, as swanlab was told, into a `logging_dir` that was typed, or ./swanlog."""
    if options.log_dir is not None:
        return Path(options.log_dir).expanduser()
    is_set = "log_dir" in settings.model_fields_set or os.environ.get("SWANLAB_LOGDIR")
    if is_set or args.logging_dir is None or _is_completed(args):
        return Path(settings.log_dir)
    return Path(args.logging_dir).expanduser()


def _is_completed(args: TrainingArguments) -> bool:
    """Whether nobody chose `logging_dir`: it is a folder of ``runs`` in `output_dir` then."""
    return Path(str(args.logging_dir)).parent == Path(args.output_dir, "runs")


def choose_project(args: TrainingArguments, settings: Any) -> str:
    """The project; by default it is called after the working directory, as far as SwanLab allows that."""
    given = os.environ.get(PROJECT_VARIABLE) or settings.project.name or args.project
    return given or _NO_PART_OF_A_PROJECT.sub("-", Path.cwd().name)[:100] or "drivetrain"


def has_active_run() -> bool:
    """Whether the user began a run in this process."""
    swanlab = sys.modules.get("swanlab")
    return swanlab is not None and bool(swanlab.has_run())


def find_problems(args: TrainingArguments, options: SwanLabOptions) -> Iterator[str]:
    """Say what stands against reporting with these options."""
    if missing := list(find_missing_library("swanlab", "swanlab", "'swanlab>=0.10'")):
        yield from missing
        return
    if has_active_run():
        return
    try:
        settings = read_settings()
    except ValueError as error:
        yield _explain_refusal(error)
        return
    project = choose_project(args, settings)
    if _NO_PART_OF_A_PROJECT.search(project) or len(project) > 100:
        yield (
            f"`project`: {project!r} is no name for a project of 'swanlab'. Type up to 100 letters, digits "
            "and the signs _ - + and ."
        )
    mode = choose_mode(options, settings)
    if mode == "local" and list(find_missing_library("swanlab", "swanboard", "'swanlab[dashboard]'")):
        yield (
            "`report_to`: 'swanlab' needs swanboard for the mode 'local'. Type: pip install "
            "'swanlab[dashboard]' (or set SWANLAB_MODE=offline, which writes files that can be sent later)"
        )
    if mode == "online" and not settings.api_key:
        yield (
            "`report_to`: 'swanlab' has no key for its service. Type `swanlab login` or set SWANLAB_API_KEY; "
            "or set SWANLAB_MODE=offline, which writes files that `swanlab sync` sends later."
        )


def _explain_refusal(error: ValueError) -> str:
    mode = os.environ.get("SWANLAB_MODE", "")
    if mode.strip("'\"") not in ("", *_MODES):
        choices = ", ".join(map(repr, _MODES))
        return (
            f"`report_to`: 'swanlab' is told SWANLAB_MODE={mode!r}, which is none of {choices}. "
            "Type SWANLAB_MODE=offline, say."
        )
    return f"`report_to`: swanlab refuses its own configuration (SWANLAB_… or its files): {error}"

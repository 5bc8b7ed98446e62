"""What `reporter_args` may say to wandb, and what its environment variables say where it does not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

MODES = ("online", "offline", "shared", "disabled", "dryrun", "run")
RESUMES = ("allow", "must", "never", "auto")
KEPT_MODELS = ("false", "end", "checkpoint")
WATCHED = ("false", "gradients", "parameters", "all")


def _option(help_text: str) -> Any:
    return field(default=None, metadata={"help": help_text})


@dataclass(frozen=True)
class WandBOptions:
    """Options of the reporter; what is left out is what wandb's environment variables say."""

    project: str | None = _option("Instead of WANDB_PROJECT and the argument `project`.")
    entity: str | None = _option("The user or team that the run belongs to (WANDB_ENTITY).")
    name: str | None = _option("Instead of WANDB_NAME and the argument `run_name`.")
    group: str | None = _option("The group that the run is shown in (WANDB_RUN_GROUP).")
    job_type: str | None = _option("What the run does within its group (WANDB_JOB_TYPE).")
    tags: tuple[str, ...] | None = _option("Labels of the run (WANDB_TAGS).")
    notes: str | None = _option("A text about the run (WANDB_NOTES).")
    id: str | None = _option("The run to go on with, or the identity of a new one (WANDB_RUN_ID).")
    mode: str | None = _option("'online', 'offline' (`wandb sync` sends it) or 'disabled' (WANDB_MODE).")
    dir: str | None = _option("Where the folder wandb/ is made (WANDB_DIR), else in `logging_dir`.")
    log_model: str | None = _option("Keep models: 'false', 'end' or 'checkpoint' (WANDB_LOG_MODEL).")
    watch: str | None = _option(
        "Histograms of 'gradients', 'parameters' or 'all', or 'false' (WANDB_WATCH)."
    )
    watch_steps: int | None = _option(
        "Updates between two histograms. By default `logging_steps`, but 100 at least."
    )

    @property
    def kept_model(self) -> str:
        """One of `KEPT_MODELS`, if it is no problem."""
        return _read(self.log_model, "WANDB_LOG_MODEL")

    @property
    def watched(self) -> str:
        """One of `WATCHED`, if it is no problem."""
        return _read(self.watch, "WANDB_WATCH")


def find_problems(options: WandBOptions) -> Iterator[str]:
    """Say what is none of the values that an option, or an environment variable, may have."""
    yield from _problem_of(options.log_model, "log_model", "WANDB_LOG_MODEL", KEPT_MODELS)
    yield from _problem_of(options.watch, "watch", "WANDB_WATCH", WATCHED)
    yield from _problem_of(options.mode, "mode", "WANDB_MODE", MODES)
    yield from _problem_of(None, "", "WANDB_RESUME", RESUMES)
    if options.watch_steps is not None and options.watch_steps < 1:
        yield f"`reporter_args`: watch_steps={options.watch_steps} of 'wandb' has to be 1 or more."


def _read(option: str | None, variable: str) -> str:
    return (option or os.environ.get(variable) or "false").strip().lower()


def _problem_of(option: str | None, name: str, variable: str, allowed: tuple[str, ...]) -> Iterator[str]:
    value = option or os.environ.get(variable)
    if value and value.strip().lower() not in allowed:
        where = f"`reporter_args`: {name}=" if option else f"`report_to`: 'wandb' is told {variable}="
        example = f"{variable}={allowed[0]}"
        if option:
            example = f'reporter_args={{"wandb": {{"{name}": "{allowed[0]}"}}}}'
        choices = ", ".join(map(repr, allowed))
        yield f"{where}{value!r}, which is none of {choices}. Type {example}, say."

"""The settings of a run: ours where nobody said otherwise, the environment's, then those typed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drivetrain_wandb.options import WandBOptions

if TYPE_CHECKING:
    from drivetrain import TrainingArguments

DEFAULT_PROJECT = "huggingface"
"""The published trainer's."""

_LONGEST_START = 15.0
"""Seconds that wandb may take to reach its server; a third of `reporter_timeout`, if that is less."""


def make_settings(wandb: Any, args: TrainingArguments, options: WandBOptions, run_name: str) -> Any:
    """The `wandb.Settings` of a run.

    What wandb does by itself besides reporting (it captures what is printed, measures the machine, reads the
    git repository and the script) is off unless an environment variable asks for it.
    """
    settings = wandb.Settings(
        console="off",
        disable_git=True,
        disable_code=True,
        save_code=False,
        label_disable=True,
        x_disable_stats=True,
        x_transaction_log_flush_interval=1.0,
        silent=True,
        init_timeout=max(min(_LONGEST_START, args.reporter_timeout / 3), 0.1),
        finish_timeout=max(args.reporter_timeout / 2, 0.1),
        finish_timeout_raises=True,
    )
    settings.update_from_env_vars(_without_empty(os.environ))
    for setting, value in _typed(options).items():
        setattr(settings, setting, value)
    settings.project = settings.project or args.project or DEFAULT_PROJECT
    settings.run_name = settings.run_name or run_name or None
    if (folder := _choose_folder(args, options)) is not None:
        folder.mkdir(parents=True, exist_ok=True)
        settings.root_dir = str(folder)
    return settings


def _typed(options: WandBOptions) -> dict[str, Any]:
    named = {
        "project": options.project,
        "entity": options.entity,
        "run_name": options.name,
        "run_group": options.group,
        "run_job_type": options.job_type,
        "run_tags": options.tags,
        "run_notes": options.notes,
        "run_id": options.id,
        "mode": options.mode,
    }
    return {setting: value for setting, value in named.items() if value is not None}


def _choose_folder(args: TrainingArguments, options: WandBOptions) -> Path | None:
    """Where wandb makes its folder; None for where the process runs, as it does by itself."""
    if typed := options.dir or os.environ.get("WANDB_DIR"):
        return Path(typed).expanduser()
    is_default = args.logging_dir is None or Path(args.logging_dir).parent == Path(
        args.output_dir, "runs"
    )
    return None if is_default else Path(str(args.logging_dir)).expanduser()


def _without_empty(environment: Any) -> dict[str, str]:
    """An empty variable says nothing."""
    return {name: value for name, value in environment.items() if value}

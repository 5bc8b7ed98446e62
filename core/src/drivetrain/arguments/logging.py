"""Arguments of what is logged, when, and where to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from drivetrain.arguments.choices import IntervalStrategy
from drivetrain.arguments.fields import argument, argument_factory

LOG_LEVELS = ("detail", "debug", "info", "warning", "error", "critical", "passive")
"""Names of log levels; ``detail`` is the earlier name of ``debug``."""


@dataclass(init=False, repr=False, eq=False)
class LoggingArguments:
    """What is told of a run."""

    log_level: str = argument(
        "passive",
        "What drivetrain's loggers tell on the first process: a level by name, or 'passive' to leave them.",
        choices=LOG_LEVELS,
    )
    log_level_replica: str = argument("warning", "The same for all other processes.", choices=LOG_LEVELS)
    log_on_each_node: bool = argument(
        True, "Use `log_level` on the first process of each machine, not on the very first only."
    )
    logging_strategy: IntervalStrategy | str = argument(
        "steps", "When to log: 'no', 'steps' (every `logging_steps`) or 'epoch'."
    )
    logging_steps: float = argument(500, "Updates between two logs; below 1, a share of all updates.")
    logging_first_step: bool = argument(False, "Log the first update, too.")
    logging_nan_inf_filter: bool = argument(
        True, "Count a loss that is not finite as the mean of the others since the last log."
    )
    logging_dir: str | None = argument(
        None, "Where reporters that write files do. By default: `output_dir`/runs/<time>_<host>."
    )
    report_to: str | list[str] | None = argument(
        "all", "Reporters by name, 'all' (every one that is installed and can be loaded), or 'none'."
    )
    run_name: str | None = argument(None, "What reporters call the run. By default: `output_dir`.")
    project: str | None = argument(
        None,
        "The project (experiment, task group) that reporters put the run into. By default: their own.",
    )
    reporter_args: dict[str, Any] | str | None = argument_factory(
        dict,
        "Options of reporters, by reporter: {'wandb': {'tags': ['first']}}, each a dict or text as for "
        "`optim_args`.",
    )
    reporter_errors: str = argument(
        "continue",
        "What an error in a reporter does: 'continue' logs it and goes on; 'raise' ends the run, and calls "
        "reporters in the thread that trains.",
        choices=("continue", "raise"),
    )
    reporter_timeout: float = argument(
        60.0,
        "Seconds that the reporters, together, are given at the end of a run to send what is left.",
    )
    disable_tqdm: bool | None = argument(
        None,
        "Print logs on standard output instead of showing progress on standard error (bars on a terminal, "
        "lines elsewhere). By default: if the log level is above warning.",
    )
    include_num_input_tokens_seen: str | bool = argument(
        False,
        "Count input tokens and log them: True or 'all', 'non_padding' for those that are no padding, or "
        "'no'.",
    )
    include_tokens_per_second: bool = argument(
        False, "Log how many tokens a second were trained. Reads the training data once beforehand."
    )
    skip_memory_metrics: bool = argument(
        True, "Leave out of the metrics how much memory each stage took. Measuring it costs time."
    )
    debug: str | list[str] = argument(
        "",
        "'underflow_overflow': stop where a number is not finite and tell where it came from. "
        "'tpu_metrics_debug': print metrics of a TPU.",
    )
    profile: bool = argument(
        False, "Run torch's profiler over some updates; traces go to `output_dir`/profile."
    )

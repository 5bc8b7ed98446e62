"""Arguments of what is logged, when, and where to."""

from __future__ import annotations

from dataclasses import dataclass

from drivetrain.arguments.choices import IntervalStrategy
from drivetrain.arguments.fields import argument


@dataclass
class LoggingArguments:
    """What is told of a run."""

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
    disable_tqdm: bool | None = argument(
        None,
        "Print logs instead of showing progress bars. By default: if the log level is above warning.",
    )

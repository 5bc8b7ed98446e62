"""What `demo.py` can be told on the command line."""

from __future__ import annotations

import argparse

from starts import find_start


def read_command_line() -> argparse.Namespace:
    """The options, completed with what suits the optimizer."""
    parser = argparse.ArgumentParser(
        description="Train a small GPT, stop it, resume it from its checkpoint, and see what it learned."
    )
    add = parser.add_argument_group(
        "parts of the run, by name (`drivetrain plugins` lists them)"
    ).add_argument
    add("--optim", default="adamw_torch", help="the optimizer (%(default)s)")
    add("--scheduler", help="the learning-rate schedule (cosine, or none where there is to be none)")
    add(
        "--report-to",
        default="tensorboard",
        help="reporters, with commas between, or none (%(default)s)",
    )
    add = parser.add_argument_group("options of the optimizer (by default what suits it)").add_argument
    add("--learning-rate", type=float, help="the learning rate at its highest")
    add("--optim-args", help="its own options, such as 'rank=32, scale=1.0'")
    add("--target-modules", help="modules that a low-rank optimizer works on")
    add = parser.add_argument_group("the run").add_argument
    add("--steps", type=_read_steps, default=1500, help="updates, 10 or more (%(default)s)")
    add("--batch-size", type=int, default=16, help="blocks of text in an update (%(default)s)")
    add("--block-size", type=int, default=64, help="characters in a block (%(default)s)")
    add("--seed", type=int, default=42, help="seed of weights, order and sample (%(default)s)")
    add("--output-dir", default="demo-output", help="gets a folder for each run (%(default)s)")
    return _complete(parser.parse_args())


def _complete(options: argparse.Namespace) -> argparse.Namespace:
    for option, value in vars(find_start(options.optim)).items():
        if getattr(options, option, None) is None:
            setattr(options, option, value)
    options.report_to = [name.strip() for name in options.report_to.split(",")]
    return options


def _read_steps(text: str) -> int:
    steps = int(text)
    if steps < 10:
        raise argparse.ArgumentTypeError(
            f"{steps} is too short a run to stop and resume. Type 10 or more."
        )
    return steps

"""Names as ClearML has them."""

from __future__ import annotations

SINGLE_VALUES = (
    *("train/train_runtime", "train/train_samples_per_second", "train/train_steps_per_second"),
    *("train/train_loss", "train/total_flos", "train/epoch"),
)
"""What the published trainer shows in a table instead of as a curve."""


def split_name(name: str) -> tuple[str, str]:
    """``train/loss`` as the title of a plot and the series in it."""
    title, slash, series = name.partition("/")
    return (title, series) if slash and series else ("train", name)

"""A picture of what a classifier gets right and wrong. Needs matplotlib."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

matplotlib.use("Agg")  # draws into files, without a screen
import matplotlib.pyplot as plt

INK, QUIET, RIGHT, WRONG = "#222222", "#777777", "Blues", "Reds"
COLUMNS, ROWS = 4, 5


def draw_results(images: np.ndarray, digits: np.ndarray, predicted: np.ndarray, path: Path) -> None:
    """Draw the confusion matrix, and beside it the images that were taken for something else.

    Args:
        images: From 0 to 1, of shape (length, 8, 8).
        digits: The right digits, of shape (length,).
        predicted: What the model says, of shape (length,).
        path: The PNG file to write.
    """
    accuracy = (digits == predicted).mean()
    title = f"{accuracy:.1%} of {len(digits)} digits that the network had not seen"
    figure = plt.figure(figsize=(10, 5.6), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", fontsize=13, fontweight="bold", color=INK)
    panels: Any = figure.subfigures(1, 2, width_ratios=(3, 2))
    _draw_confusion(panels[0].subplots(), digits, predicted)
    _draw_mistakes(panels[1], images, digits, predicted)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _draw_confusion(axes: Any, digits: np.ndarray, predicted: np.ndarray) -> None:
    """How often each digit was taken for each: hits in blue, mistakes in red, nothing where it is 0."""
    counts = np.zeros((10, 10), dtype=int)
    np.add.at(counts, (digits, predicted), 1)
    is_hit = np.eye(10, dtype=bool)
    for colors, is_shown in ((RIGHT, is_hit), (WRONG, ~is_hit)):
        shown = np.ma.masked_where(~is_shown | (counts == 0), counts)
        axes.imshow(shown, cmap=colors, vmin=0, vmax=2 * max(1, counts[is_shown].max()))
    for digit, guess in np.argwhere(counts):
        axes.text(guess, digit, counts[digit, guess], ha="center", va="center", fontsize=9, color=INK)
    axes.set_xticks(range(10))
    axes.set_yticks(range(10))
    axes.set_xlabel("taken for", color=QUIET)
    axes.set_ylabel("digit", color=QUIET)
    axes.spines[:].set_visible(False)
    axes.tick_params(colors=QUIET, length=0)


def _draw_mistakes(figure: Any, images: np.ndarray, digits: np.ndarray, predicted: np.ndarray) -> None:
    wrong = np.flatnonzero(digits != predicted)
    shown = wrong[: COLUMNS * ROWS].tolist()
    rest = f", the first {len(shown)}" if len(shown) < len(wrong) else ""
    figure.suptitle(f"{len(wrong)} mistakes{rest}", fontsize=10, color=QUIET)
    grid = list(figure.subplots(ROWS, COLUMNS).flat)
    for axes in grid:
        axes.axis("off")
    for axes, index in zip(grid, shown, strict=False):
        axes.imshow(images[index], cmap="gray_r", vmin=0, vmax=1)
        axes.set_title(f"{digits[index]} as {predicted[index]}", fontsize=8, color=INK)

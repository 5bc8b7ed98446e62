"""A picture of a run, from what its trainer logged. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")  # draws into files, without a screen
import matplotlib.pyplot as plt

INK, QUIET, TRAIN, EVAL, RATE = "#222222", "#777777", "#9ab8d3", "#1f5d94", "#b3622c"
Line = tuple[list[int], list[float]]


def draw_run(log_history: Sequence[dict[str, Any]], path: Path, title: str, resumed_at: int) -> None:
    """Draw losses and learning rate over the updates of a run.

    Args:
        log_history: ``trainer.state.log_history``.
        path: The PNG file to write.
        title: What stands above.
        resumed_at: The update of the checkpoint that the run resumed from; marked.
    """
    figure, (losses, rates) = plt.subplots(
        2, 1, figsize=(8, 5.6), sharex=True, height_ratios=(3, 1), layout="constrained"
    )
    figure.suptitle(title, x=0.01, ha="left", fontsize=13, fontweight="bold", color=INK)
    _draw_losses(losses, log_history)
    rates.plot(*_read(log_history, "learning_rate"), color=RATE, linewidth=2)
    rates.set_ylim(bottom=0)
    rates.set_title("Learning rate", loc="left", fontsize=10, color=QUIET)
    rates.set_xlabel("Update", color=QUIET)
    for axes in (losses, rates):
        axes.axvline(resumed_at, color=QUIET, linewidth=1, linestyle=(0, (4, 3)), zorder=0)
        _tidy(axes)
    losses.annotate(
        f"resumed from\ncheckpoint-{resumed_at}",
        (resumed_at, 0.97),
        xycoords=("data", "axes fraction"),
        xytext=(6, 0),
        textcoords="offset points",
        va="top",
        fontsize=9,
        color=QUIET,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 2},
    )
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _draw_losses(axes: Any, log_history: Sequence[dict[str, Any]]) -> None:
    steps, losses = _read(log_history, "eval_loss")
    axes.plot(*_read(log_history, "loss"), color=TRAIN, linewidth=2, label="training")
    axes.plot(steps, losses, color=EVAL, linewidth=2, marker="o", markersize=5, label="evaluation")
    if steps:
        axes.annotate(
            f"{losses[-1]:.2f}",
            (steps[-1], losses[-1]),
            xytext=(0, 8),
            textcoords="offset points",
            ha="center",
            fontweight="bold",
            color=EVAL,
        )
    axes.set_title("Loss (nats for each character)", loc="left", fontsize=10, color=QUIET)
    axes.legend(framealpha=1, edgecolor="none", loc="upper center", labelcolor=INK)


def _read(log_history: Sequence[dict[str, Any]], name: str) -> Line:
    """The steps at which a value was logged, and the values."""
    logged = [(entry["step"], entry[name]) for entry in log_history if name in entry]
    return [step for step, _ in logged], [value for _, value in logged]


def _tidy(axes: Any) -> None:
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(QUIET)
    axes.tick_params(colors=QUIET, length=0)
    axes.grid(axis="y", color="#e6e6e6")
    axes.set_axisbelow(True)
    axes.margins(x=0.02)

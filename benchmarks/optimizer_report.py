"""What `optimizers.py` measured, as tables for a terminal and for a page, and as a picture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from optimizer_claims import REFERENCE, TOLERANCES, judge

Results = Mapping[str, Any]
Row = tuple[str, float, tuple[float, float, float], float, float, float, str]
"""Name, loss, ratio of time (least, median, most), shares of state (model, matrix), rate, schedule."""


def read_rows(results: Results) -> list[Row]:
    """What was measured of each name, lowest loss first."""
    measured = {name: one for name, one in results["names"].items() if "loss" in one}
    reference = measured[REFERENCE]
    rows: list[Row] = [
        (
            name,
            one["loss"],
            tuple(one["ratio"]),
            one["state"] / reference["state"],
            one["matrix"] / reference["matrix"],
            one["learning_rate"],
            one["schedule"],
        )
        for name, one in measured.items()
    ]
    return sorted(rows, key=lambda row: row[1] if row[1] == row[1] else float("inf"))


def read_reasons(results: Results) -> dict[str, str]:
    """Why each name that was not measured was not."""
    return {
        name: one.get("reason") or f"failed: {one['failure']}"
        for name, one in results["names"].items()
        if "loss" not in one
    }


# -- for a terminal ---------------------------------------------------------------------------------


def print_report(results: Results) -> None:
    print(f"\n{describe(results)}\n")
    print(
        f"{'optimizer':29}{'loss':>7}  {'time of an update':22}{'state':>7}{'matrix':>8}{'rate':>9}  schedule"
    )
    for name, loss, ratio, state, matrix, rate, schedule in read_rows(results):
        print(
            f"{name:29}{loss:7.3f}  {show_ratio(ratio):22}{state:7.1%}{matrix:8.1%}{rate:9.2g}  {schedule}"
        )
    for name, reason in read_reasons(results).items():
        print(f"{name:29}{reason}")
    verdicts = list(judge(results["names"]))
    if verdicts:
        print("\nWhat was published, and whether it held\n")
    for verdict in verdicts:
        print(f"{verdict.held:14}{verdict.name:29}{verdict.claim.text} ({verdict.claim.source})")
        print(f"{'':14}{'':29}measured: {verdict.measured}")


def describe(results: Results) -> str:
    """What was measured, where and how, in a paragraph."""
    run, parameters = results["run"], results["names"][REFERENCE]["parameters"]
    return (
        f"A GPT of {parameters:,} parameters, {run['steps']} updates of {run['batch_size']} x "
        f"{run['block_size']} characters of Python's documentation, through `Trainer`, in float32 on "
        f"{run['machine']} with torch {run['torch']}. Loss: nats a character on text held back "
        f"(one seed, {run['seed']}; rates from a table, few of which were searched for: small differences "
        f"say nothing). Time of an update (forward, backward, step; seconds {run['clock']}): as a ratio to "
        f"{REFERENCE}, which trained {run['turn']} updates and waited in turn with it; the median of "
        f"windows of {run['window']} updates, and their range, without the first. State: bytes as a share of "
        f"{REFERENCE}'s, for the model, and for one 1024 x 1024 matrix."
    )


def show_ratio(ratio: tuple[float, float, float]) -> str:
    low, middle, high = ratio
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


# -- for a page -------------------------------------------------------------------------------------


def write_markdown(results: Results) -> str:
    """Tables for a page."""
    return (
        "\n".join([describe(results), "", *_measured(results), *_reasons(results), *_claims(results)])
        + "\n"
    )


def _measured(results: Results) -> Iterator[str]:
    yield "| optimizer | loss | time of an update | state, model | state, matrix | rate | schedule |"
    yield "|---|---|---|---|---|---|---|"
    for name, loss, ratio, state, matrix, rate, schedule in read_rows(results):
        yield (
            f"| `{name}` | {loss:.3f} | {show_ratio(ratio)} | {state:.1%} | {matrix:.1%} | "
            f"{rate:.2g} | {schedule} |"
        )


def _reasons(results: Results) -> Iterator[str]:
    reasons = read_reasons(results)
    if reasons:
        yield "\nNot measured, since they cannot run on that machine, in the words of their plugins:\n"
        yield "| optimizer | why |\n|---|---|"
        yield from (f"| `{name}` | {cell(reason)} |" for name, reason in reasons.items())


def _claims(results: Results) -> Iterator[str]:
    verdicts = list(judge(results["names"]))
    if verdicts:
        state, loss = (f"{TOLERANCES[measure]:.0%}" for measure in ("state", "loss"))
        yield (
            f"\nWhat was published, beside what was measured. A claim about state held if no more than "
            f"{state} of {REFERENCE}'s state lie between ('for matrices': if they do for the matrix alone); "
            f"one about loss, if it is no more than {loss} higher, or lower where that is claimed. The "
            "papers' models were larger and trained longer.\n"
        )
        yield "| optimizer | claim | source | measured | held |\n|---|---|---|---|---|"
    for verdict in verdicts:
        claim = verdict.claim
        yield f"| `{verdict.name}` | {claim.text} | {claim.source} | {verdict.measured} | {verdict.held} |"


def cell(text: str) -> str:
    """A text as a cell of a table, in which a bar or a new line would end it."""
    return " ".join(text.split()).replace("|", "\\|")


# -- a picture --------------------------------------------------------------------------------------


INK, QUIET, OTHER, OURS = "#222222", "#777777", "#9ab8d3", "#1f5d94"


def draw(results: Results, path: Path) -> None:
    """Draw loss, time and state of every name beside those of the reference. Needs matplotlib."""
    import matplotlib

    matplotlib.use("Agg")  # draws into files, without a screen
    import matplotlib.pyplot as plt

    rows = read_rows(results)[::-1]
    figure, panels = plt.subplots(
        1, 3, figsize=(10, 1.3 + 0.22 * len(rows)), sharey=True, layout="constrained"
    )
    figure.suptitle(
        f"Optimizers on a small GPT, {results['run']['steps']} updates", x=0.01, ha="left", color=INK
    )
    adamw = next(row[1] for row in rows if row[0] == REFERENCE)
    worst = max(min(row[1], 1.3 * adamw) for row in rows)
    _draw_panel(panels[0], rows, [row[1] if row[1] <= worst else float("nan") for row in rows], adamw)
    _draw_panel(panels[1], rows, [row[2][1] for row in rows], 1.0)
    _draw_panel(panels[2], rows, [row[3] for row in rows], 1.0)
    for position, row in enumerate(rows):
        panels[1].plot(row[2][::2], [position, position], color=QUIET, linewidth=1)
        if not row[1] <= worst:
            panels[0].annotate(
                "more", (worst, position), fontsize=7, color=QUIET, va="center", ha="right"
            )
    panels[0].set_title("Loss (nats a character)", loc="left", fontsize=10, color=QUIET)
    for axes, title in zip(panels[1:], ("Time of an update", "State"), strict=True):
        axes.set_title(f"{title} (1: {REFERENCE}'s)", loc="left", fontsize=10, color=QUIET)
        axes.set_xlim(left=0)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _draw_panel(axes: Any, rows: list[Row], values: list[float], reference: float) -> None:
    axes.axvline(reference, color=QUIET, linewidth=1, linestyle=(0, (4, 3)), zorder=0)
    colors = [OURS if row[0] == REFERENCE else OTHER for row in rows]
    axes.scatter(values, range(len(rows)), color=colors, s=28, zorder=3, clip_on=False)
    axes.set_yticks(range(len(rows)), [row[0] for row in rows], fontsize=8)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(colors=QUIET, length=0)
    axes.grid(axis="y", color="#eeeeee")
    axes.set_ylim(-0.7, len(rows) - 0.3)
    axes.set_axisbelow(True)

"""Which curves are drawn together: from the names of what was logged to charts in sections."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from drivetrain_report.runs import RunRecord
from drivetrain_report.series import Series

LOSSES = {"train/loss": "training", "eval/loss": "evaluation"}
_TITLES = {
    "train/learning_rate": "Learning rate",
    "train/grad_norm": "Norm of the gradients",
    "perf/tokens_per_second": "Tokens per second",
    "perf/samples_per_second": "Samples per second",
    "perf/memory_mb": "Memory of the process (MB)",
    "perf/device_memory_peak_mb": "Peak of the device's memory (MB)",
}
_FIRST = ("train/learning_rate", "train/grad_norm")
_SHARE = "_share"
_SHARES = ("data", "forward", "backward", "optimizer")
_SPEEDS = ("_per_second", "runtime")


@dataclass(frozen=True)
class Curve:
    """A series of a run, in a chart.

    Attributes:
        run: The position of the run.
        label: What it is besides the run's: ``"evaluation"``; empty if the chart says it all.
        is_second: Drawn thick, over another of the same run.
    """

    run: int
    name: str
    series: Series
    label: str = ""
    is_second: bool = False


@dataclass(frozen=True)
class Chart:
    """Curves in one coordinate system.

    Attributes:
        is_stacked: The curves are parts of a whole.
    """

    title: str
    curves: Sequence[Curve]
    is_stacked: bool = False

    def is_behind(self, curve: Curve) -> bool:
        """Whether a curve is one that others are drawn over."""
        return not curve.is_second and any(other.is_second for other in self.curves)


@dataclass(frozen=True)
class Section:
    """Charts under a heading."""

    title: str
    charts: Sequence[Chart]


def arrange(runs: Sequence[RunRecord]) -> list[Section]:
    """Every series of every run in a chart, the ones that are looked at first in front."""
    names = list(dict.fromkeys(name for run in runs for name in sorted(run.logged.series)))
    left = [name for name in names if name not in LOSSES and not _is_empty(name, runs)]
    training = _take(left, lambda name: name in _FIRST)
    training.sort(key=_FIRST.index)
    evaluation = _take(left, lambda name: name.startswith("eval/") and not name.endswith(_SPEEDS))
    shares = _take(left, lambda name: name.startswith("perf/") and name.endswith(_SHARE))
    speeds = _take(left, lambda name: name.endswith(_SPEEDS))
    memory = _take(left, lambda name: "memory" in name)
    speeds.sort(key=lambda name: (not name.startswith("perf/"), name))
    sections = [
        Section("Training", [*_loss_chart(runs), *(_chart(name, runs) for name in training)]),
        Section("Evaluation", [_chart(name, runs) for name in evaluation]),
        Section("Throughput", [*_share_charts(shares, runs), *(_chart(name, runs) for name in speeds)]),
        Section("Memory", [_chart(name, runs) for name in memory]),
        Section("More", [_chart(name, runs) for name in left]),
    ]
    return [section for section in sections if section.charts]


def _take(names: list[str], is_wanted: Callable[[str], bool]) -> list[str]:
    """Remove names from a list, and return them."""
    wanted = [name for name in names if is_wanted(name)]
    names[:] = [name for name in names if name not in wanted]
    return wanted


def _is_empty(name: str, runs: Sequence[RunRecord]) -> bool:
    """Whether a count of what should not happen stayed at 0: nothing to look at."""
    if "non_finite" not in name:
        return False
    return not any(any(series.values) for _, series in _of_runs(name, runs))


def _of_runs(name: str, runs: Sequence[RunRecord]) -> Iterable[tuple[int, Series]]:
    for position, run in enumerate(runs):
        if name in run.logged.series:
            yield position, run.logged.series[name]


def _loss_chart(runs: Sequence[RunRecord]) -> list[Chart]:
    curves = [
        Curve(run, name, series, label, is_second=name != "train/loss")
        for name, label in LOSSES.items()
        for run, series in _of_runs(name, runs)
    ]
    return [Chart("Loss", curves)] if curves else []


def _chart(name: str, runs: Sequence[RunRecord]) -> Chart:
    curves = [Curve(run, name, series) for run, series in _of_runs(name, runs)]
    return Chart(_TITLES.get(name, name), curves)


def _share_charts(names: list[str], runs: Sequence[RunRecord]) -> list[Chart]:
    """A chart for each run: shares of several cannot be laid over each other."""
    return [chart for i, run in enumerate(runs) if (chart := _share_chart(names, i, run, len(runs)))]


def _share_chart(names: list[str], position: int, run: RunRecord, num_runs: int) -> Chart | None:
    found: Mapping[str, Series] = {
        name: run.logged.series[name] for name in names if name in run.logged.series
    }
    ordered = sorted(found, key=_order_of_share)
    curves = [Curve(position, name, found[name], _name_of_share(name)) for name in ordered]
    title = "Shares of an update" + (f": {run.name}" if num_runs > 1 else "")
    return Chart(title, curves, is_stacked=True) if curves else None


def _order_of_share(name: str) -> tuple[int, str]:
    share = _name_of_share(name)
    return (_SHARES.index(share) if share in _SHARES else len(_SHARES), share)


def _name_of_share(name: str) -> str:
    return name.removeprefix("perf/").removesuffix(_SHARE)
